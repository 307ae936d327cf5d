#!/usr/bin/env python3
"""Converts PyTorch checkpoints (.pt .pth .ckpt .bin) to one safetensors file, names unchanged. Needs PyTorch >= 1.13.

    to_safetensors.py model.pth -o model.safetensors
    to_safetensors.py run.ckpt --key state_dict -o model.safetensors     (a wrapped state dict; nested: --key ema.model)
    to_safetensors.py encoder=a.ckpt masknet=b.ckpt decoder=c.ckpt -o all.safetensors     (names become encoder.NAME, ...)
Files are read with weights_only=True: no code in them runs. A tensor shared by several names is written under each.
"""
from __future__ import annotations

import argparse
import json
import os
import pickle
import struct
import sys

import torch
from torch import Tensor

DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
          torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"}
DTYPES.update({getattr(torch, f"float8_{kind}"): f"F8_{kind.upper()}" for kind in ("e4m3fn", "e5m2")
               if hasattr(torch, f"float8_{kind}")})
DTYPES = {key: value.replace("E4M3FN", "E4M3") for key, value in DTYPES.items()}


def write_safetensors(path: str, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes a temporary file beside `path` and renames it. Wide dtypes come first, so every tensor is aligned."""
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, dict] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name in names:
        tensor = tensors[name]
        if tensor.dtype not in DTYPES or tensor.layout != torch.strided:
            raise ValueError(f"tensor '{name}': {tensor.dtype} ({tensor.layout}) has no safetensors form")
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    try:
        with open(f"{path}.tmp", "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for name in names:
                file.write(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        os.replace(f"{path}.tmp", path)
    finally:
        if os.path.exists(f"{path}.tmp"):
            os.remove(f"{path}.tmp")


def read_checkpoint(path: str, key: str) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{path}: no checkpoint of plain tensors ({str(error).splitlines()[0]})") from None
    for part in key.split(".") if key else []:
        if not isinstance(state, dict) or part not in state:
            raise ValueError(f"{path}: no entry '{part}'; found {list(state)[:12] if isinstance(state, dict) else type(state)}")
        state = state[part]
    if not isinstance(state, dict) or not state:
        raise ValueError(f"{path}: expected a state dict, got {type(state).__name__} of {len(state) if state == {} else '?'}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            inner = [k for k, v in state.items() if isinstance(v, dict)]
            raise ValueError(f"{path}: entry '{name}' is a {type(value).__name__}, not a tensor; try --key with one of {inner}")
    return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", metavar="[PREFIX=]FILE")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--key", default="", help="entry that holds the state dict: state_dict, model, ema, ...")
    options = parser.parse_args()
    tensors: dict[str, Tensor] = {}
    try:
        for item in options.inputs:
            prefix, path = ("", item) if os.path.exists(item) or "=" not in item else item.split("=", 1)
            for name, tensor in read_checkpoint(path, options.key).items():
                name = f"{prefix}.{name}" if prefix else name
                if name in tensors:
                    raise ValueError(f"{path}: tensor '{name}' was already read from another file; give the files prefixes")
                tensors[name] = tensor
        write_safetensors(options.output, tensors, {"format": "pt"})
    except (OSError, ValueError) as error:
        sys.exit(f"to_safetensors: {error}")
    print(f"{options.output}: {len(tensors)} tensors, {sum(t.numel() for t in tensors.values())} values")


if __name__ == "__main__":
    main()
