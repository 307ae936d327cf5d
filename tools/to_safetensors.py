#!/usr/bin/env python3
"""Converts PyTorch checkpoints (.pt .pth .ckpt .bin) to one safetensors file, names unchanged. Needs PyTorch >= 1.13.

    to_safetensors.py model.pth -o model.safetensors
    to_safetensors.py run.ckpt --key state_dict -o model.safetensors     (a wrapped state dict; nested: --key ema.model)
    to_safetensors.py encoder=a.ckpt masknet=b.ckpt decoder=c.ckpt -o all.safetensors   (names become encoder.NAME, ...)
Files are read with weights_only=True: no code in them runs. A tensor shared by several names is written under each.
"""
import argparse
import json
import os

import torch

CODES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
         "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool", "F8_E4M3": "float8_e4m3fn",
         "F8_E5M2": "float8_e5m2"}
DTYPES = {getattr(torch, name): code for code, name in CODES.items() if hasattr(torch, name)}


def write_safetensors(path: str, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Writes a temporary file beside `path` and renames it. Wide dtypes come first, so every tensor is aligned."""
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header, end, temporary = {"__metadata__": metadata}, 0, f"{path}.tmp"
    for name, tensor in ((name, tensors[name]) for name in names):
        if tensor.dtype not in DTYPES or tensor.layout != torch.strided:
            raise ValueError(f"tensor '{name}': {tensor.dtype}, {tensor.layout} has no safetensors form")
        offsets = [end, end := end + tensor.numel() * tensor.element_size()]
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    try:
        with open(temporary, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in names:
                file.write(tensors[name].detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
        os.replace(temporary, path)
    except OSError:
        os.path.exists(temporary) and os.remove(temporary)
        raise


def read_checkpoint(path: str, key: str) -> dict[str, torch.Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many types on foreign bytes
        reason = (str(error).split("WeightsUnpickler error: ")[-1].strip() or "?").splitlines()[0]
        raise ValueError(f"{path}: cannot be read as plain tensors: {type(error).__name__}: {reason}") from None
    found = list(state)[:12] if isinstance(state, dict) else type(state).__name__
    for part in key.split(".") if key else []:
        state = state.get(part) if isinstance(state, dict) else None
    if not isinstance(state, dict) or not state:
        raise ValueError(f"{path}: no dict of tensors{f' under --key {key}' if key else ''}; the file holds {found}")
    if strange := [name for name, value in state.items() if not isinstance(value, torch.Tensor)]:
        inner = [name for name, value in state.items() if isinstance(value, dict)]
        raise ValueError(f"{path}: entry '{strange[0]}' is no tensor; candidates for --key: {inner}")
    return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", metavar="[PREFIX=]FILE")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--key", default="", help="entry that holds the state dict: state_dict, model, ema, ...")
    options, tensors = parser.parse_args(), {}
    try:
        for item in options.inputs:
            prefix, path = ("", item) if os.path.exists(item) or "=" not in item else item.split("=", 1)
            for name, tensor in read_checkpoint(path, options.key).items():
                if tensors.setdefault(full := f"{prefix}.{name}" if prefix else name, tensor) is not tensor:
                    raise ValueError(f"{path}: '{full}' was already read from another file; give the files prefixes")
        write_safetensors(options.output, tensors, {"format": "pt"})
    except (OSError, ValueError) as error:
        raise SystemExit(f"to_safetensors: {error}") from None
    print(f"{options.output}: {len(tensors)} tensors, {sum(t.numel() for t in tensors.values())} values")


if __name__ == "__main__":
    main()
