#!/usr/bin/env python3
"""Writes the training curve that `train_shapes --replay FILE` must reproduce: train_curve.py [FILE]

A tiny shapes model (shapes_model.py) takes 50 updates of plain PyTorch in float32: rectified flow, gradients of two
micro-batches added up and clipped, AdamW without decay of vectors, warmup-stable-decay, an exponential moving average.
The file holds all that an update takes, in types that widen to float32 exactly:
    text_encoder.*, transformer.*   initial weights, BF16
    x0 [50, B, 3, S, S]             pictures, U8: a byte b stands for b / 127.5 - 1
    noise [50, B, 3, S, S] BF16     time [50, B] F32          ids [50, B, 16] U8
and what comes out:
    loss, gradient_norm, lr [50] F64 (the norm before clipping), average_loss [1] F64 (of the averaged weights, on the
    last update's pictures).
Metadata: config and vocabulary of the model, and the recipe as train_shapes keeps it.
"""
from __future__ import annotations

import copy
import json
import math
import os
import sys

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shapes_model import ShapesModel
from shapes_scenes import MAX_TOKENS, VOCABULARY, SceneSampler, captions, render
from to_safetensors import write_safetensors

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STEPS, SIDE, BATCH = 50, 8, 4
RECIPE = {"side": SIDE, "patch": 2, "layers": 2, "heads": 2, "head-width": 16, "text-layers": 1, "text-width": 32,
          "batch": BATCH, "accumulate": 2, "lr": 2e-3, "beta1": 0.9, "beta2": 0.99, "weight-decay": 0.1, "clip": 0.5,
          "ema": 0.9, "warmup": 10, "schedule": "wsd", "cooldown": 0.4, "cooldown-shape": "cosine"}
CONFIG = {
    "transformer": {
        "sample_size": SIDE, "patch_size": 2, "in_channels": 3, "out_channels": 3, "num_layers": 2,
        "attention_head_dim": 16, "num_attention_heads": 2, "joint_attention_dim": 32, "caption_projection_dim": 32,
        "pooled_projection_dim": 32, "pos_embed_max_size": SIDE // 2, "dual_attention_layers": [],
        "qk_norm": "rms_norm"},
    "text_encoder": {
        "vocab_size": len(VOCABULARY), "max_position_embeddings": MAX_TOKENS, "hidden_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 1, "intermediate_size": 128, "hidden_act": "gelu_tanh", "layer_norm_eps": 1e-5},
    "scheduler": {"shift": 3.0, "sigmas": "linspace_1_to_1_over_n"}, "steps": 30, "guidance": 3.0}


def learning_rate(step: int) -> float:
    peak, warmup = RECIPE["lr"], RECIPE["warmup"]
    cooldown = int(RECIPE["cooldown"] * STEPS)
    if step < warmup:
        return peak * (step + 1) / warmup
    past = step - (STEPS - cooldown)
    return peak if past < 0 else peak * (1 + math.cos(math.pi * (past + 1) / cooldown)) / 2


def draw_inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x0 as bytes, noise, time and ids of all updates; the pictures are the mean of 8 x 8 pixels."""
    count = STEPS * BATCH
    sampler = SceneSampler("cpu", seed=40, alone=0.5)
    scenes = sampler.scenes(count)
    pictures = F.avg_pool2d(render(scenes, *sampler.layout(scenes)), 64 // SIDE)
    x0 = ((pictures + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    ids = captions(scenes, sampler.wording(count)).to(torch.uint8)
    noise = torch.randn(x0.shape, generator=sampler.generator).bfloat16()
    time = torch.sigmoid(0.8 + 1.2 * torch.randn(count, generator=sampler.generator))
    return tuple(t.unflatten(0, (STEPS, BATCH)) for t in (x0, noise, time, ids))


def flow_loss(model: ShapesModel, x0: Tensor, noise: Tensor, time: Tensor, ids: Tensor) -> Tensor:
    x0, noise, mix = x0.float() / 127.5 - 1, noise.float(), time[:, None, None, None]
    return F.mse_loss(model((1 - mix) * x0 + mix * noise, ids.long(), 1000 * time), noise - x0)


def main() -> None:
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "examples/weights/train_curve.safetensors")
    torch.manual_seed(41)
    model = ShapesModel(CONFIG)
    model.initialise()
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for p in parameters.values():
            p.copy_(p.bfloat16())
    initial = {name: p.detach().bfloat16() for name, p in parameters.items()}
    average = copy.deepcopy(model)
    groups = [{"params": [p for p in parameters.values() if p.ndim > 1], "weight_decay": RECIPE["weight-decay"]},
              {"params": [p for p in parameters.values() if p.ndim == 1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(RECIPE["beta1"], RECIPE["beta2"]))
    inputs = draw_inputs()
    losses, norms, rates = [], [], []
    for step in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in zip(*(t[step].chunk(RECIPE["accumulate"]) for t in inputs)):
            loss = flow_loss(model, *part) / RECIPE["accumulate"]
            loss.backward()
            total += loss.item()
        norm = nn.utils.clip_grad_norm_(parameters.values(), RECIPE["clip"])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.step()
        decay = min(RECIPE["ema"], (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, p in zip(average.parameters(), model.parameters()):
                mean.lerp_(p, 1 - decay)
        losses.append(total)
        norms.append(norm.item())
        rates.append(learning_rate(step))
    with torch.no_grad():
        average_loss = flow_loss(average, *(t[-1] for t in inputs)).item()
    tensors = {**initial, **dict(zip(("x0", "noise", "time", "ids"), inputs))}
    for name, values in (("loss", losses), ("gradient_norm", norms), ("lr", rates), ("average_loss", [average_loss])):
        tensors[name] = torch.tensor(values, dtype=torch.float64)
    write_safetensors(path, tensors, {
        "format": "pt", "config": json.dumps(CONFIG), "vocabulary": json.dumps(VOCABULARY),
        "recipe": json.dumps(RECIPE), "source": f"tools/train_curve.py, PyTorch {torch.__version__}"})
    print(f"{path}: {os.path.getsize(path)} bytes; loss {losses[0]:.4f} to {losses[-1]:.4f}, norm {norms[0]:.3f} to "
          f"{norms[-1]:.3f}, average {average_loss:.4f}")


if __name__ == "__main__":
    main()
