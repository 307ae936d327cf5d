#!/usr/bin/env python3
"""Writes the golden-1 cases of the committed shapes model: shapes_golden.py [FOLDER]

guided_30_steps  input/noise, the guided Euler result output/image (not clamped)
forward          one velocity with the text encoder's outputs
Both are computed in float64 from the bfloat16 weights, which the cases name rather than hold, and rounded to float32.
"""
from __future__ import annotations

import json
import os
import sys

import torch

from shapes_model import ShapesModel, load, sample
from shapes_scenes import SIDE, tokenize
from to_safetensors import write_safetensors

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WEIGHTS = "examples/weights/shapes.safetensors"
PROMPT = "a large red circle above a small blue square on a white background"


def write_case(folder: str, case: str, system: str, config: dict, tensors: dict[str, torch.Tensor],
               tolerance: str) -> None:
    tensors = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    metadata = {"format": "golden-1", "system": system, "case": case, "tolerance": tolerance, "notes": "",
                "source": "tools/shapes_golden.py, float64",
                "config": json.dumps({"weights": WEIGHTS, "prompt": PROMPT, **config})}
    write_safetensors(os.path.join(folder, f"{case}.safetensors"), tensors, metadata)


def guided(model: ShapesModel, config: dict, folder: str) -> None:
    noise = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(30))
    ids, shift = torch.tensor([tokenize(PROMPT)]), config["scheduler"]["shift"]
    image = sample(model, ids, noise.double(), config["steps"], config["guidance"], shift)
    settings = {"sampler": "flow_match_euler", **{key: config[key] for key in ("scheduler", "steps", "guidance")}}
    tensors = {"input/noise": noise, "output/image": image}
    write_case(folder, "guided_30_steps", "shapes.sample", settings, tensors, "1e-4")


def forward(model: ShapesModel, folder: str) -> None:
    hidden_states = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(31))
    ids, timestep = torch.tensor([tokenize(PROMPT)]), torch.tensor([625.0])
    with torch.no_grad():
        states, pooled = model.text_encoder(ids)
        velocity = model.transformer(hidden_states.double(), states, pooled, timestep.double())
    write_case(folder, "forward", "shapes.forward", {}, {
        "input/hidden_states": hidden_states, "input/input_ids": ids, "input/timestep": timestep,
        "output/encoder_hidden_states": states, "output/pooled_projections": pooled, "output/sample": velocity}, "2e-5")


def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "tests/golden/shapes")
    os.makedirs(folder, exist_ok=True)
    model, config = load(os.path.join(ROOT, WEIGHTS))
    forward(model.double(), folder)
    guided(model, config, folder)


if __name__ == "__main__":
    main()
