#!/usr/bin/env python3
"""Writes a golden-1 case from a PyTorch module: weights, inputs, outputs and gradients in one safetensors file.

    from dump_case import dump_case
    dump_case("small.safetensors", block, {"x": x, "mask": mask}, system="my.block", case="small", config={"dim": 64})

`verify small.safetensors` then compares a C++ implementation registered as "my.block" with it. Run as a program, this
file writes the case of a small module: dump_case.py FILE
"""
from __future__ import annotations

import copy
import json
import sys
from typing import Any, Callable, Optional, Sequence

import torch
from torch import Tensor, nn

from to_safetensors import write_safetensors


def named(outputs: Any, names: Sequence[str]) -> dict[str, Tensor]:
    """The outputs by name: a dict as it is, a tensor or a tuple by `names` (default: output, output_1, ...)."""
    if isinstance(outputs, dict):
        return {key: value for key, value in outputs.items() if isinstance(value, Tensor)}
    outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    names = names or ["output"] + [f"output_{i}" for i in range(1, len(outputs))]
    if len(names) != len(outputs):
        raise ValueError(f"expected {len(names)} outputs ({', '.join(names)}), got {len(outputs)}")
    return {name: value for name, value in zip(names, outputs) if value is not None}


def stored(tensor: Tensor) -> Tensor:
    """As the format keeps it: floats in float32, integers and masks as they are; never a view."""
    return tensor.detach().to(torch.float32 if tensor.is_floating_point() else tensor.dtype).clone()


def dump_case(path: str, module: nn.Module, inputs: dict[str, Optional[Tensor]], system: str, case: str,
              config: dict[str, Any], *, output_names: Sequence[str] = (), gradients: bool = True, seed: int = 0,
              dtype: torch.dtype = torch.float64, tolerance: Optional[float] = None, source: str = "own module",
              notes: str = "", call: Optional[Callable[..., Any]] = None,
              inside: Sequence[str] = ()) -> dict[str, Tensor]:
    """Runs a copy of `module` in evaluation mode as module(**inputs), or call(module, **inputs), and writes the case.

    The arithmetic is done in `dtype` on the float32 values that the file holds; a module that insists on float32 needs
    dtype=torch.float32. Gradients are those of sum(output * cotangent) over the float outputs, the cotangents N(0, 1);
    what has no influence gets zeros, a tied weight its total under each name. `inside` lists submodules whose first
    argument and result of their last call are kept as inside/NAME:input and inside/NAME, to find where an
    implementation goes wrong; nobody has to compute them. Returns the tensors written.
    """
    module = copy.deepcopy(module).float().eval()
    tensors = {f"param/{name}": stored(value) for name, value in module.state_dict().items()}
    module = module.to(dtype)
    arguments: dict[str, Optional[Tensor]] = {}
    for name, value in inputs.items():
        if value is None:
            arguments[name] = None
            continue
        tensors[f"input/{name}"] = stored(value)
        arguments[name] = stored(value)
        if value.is_floating_point():
            arguments[name] = stored(value).to(dtype).requires_grad_(gradients)

    def keep(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, arguments: tuple[Any, ...], result: Any) -> None:
            tensors[f"inside/{name}:input"], tensors[f"inside/{name}"] = stored(arguments[0]), stored(result)
        return hook

    for name in inside:
        module.get_submodule(name).register_forward_hook(keep(name))
    with torch.set_grad_enabled(gradients):
        outputs = named(call(module, **arguments) if call else module(**arguments), output_names)
    tensors.update({f"output/{name}": stored(value) for name, value in outputs.items()})

    if gradients:
        generator = torch.Generator().manual_seed(seed)
        loss = torch.zeros((), dtype=dtype)
        for name, value in outputs.items():
            if value.is_floating_point() and value.requires_grad:
                cotangent = torch.randn(value.shape, generator=generator)
                tensors[f"cotangent/{name}"] = cotangent
                loss = loss + (value * cotangent.to(value)).sum().to(loss)
        if loss.requires_grad:
            loss.backward()
        leaves = [("grad_input", name, value) for name, value in arguments.items() if value is not None]
        leaves += [("grad_param", name, value) for name, value in module.state_dict(keep_vars=True).items()]
        for kind, name, leaf in leaves:
            if leaf.requires_grad:
                tensors[f"{kind}/{name}"] = stored(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad)

    write_safetensors(path, tensors, {
        "format": "golden-1", "system": system, "case": case, "config": json.dumps(config), "source": source,
        "tolerance": "" if tolerance is None else f"{tolerance:g}", "notes": notes})
    return tensors


class GatedBlock(nn.Module):
    """x + gate * W2 gelu(W1 layer_norm(x))"""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm, self.gate = nn.LayerNorm(dim), nn.Parameter(torch.randn(dim))
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate * self.fc2(nn.functional.gelu(self.fc1(self.norm(x))))


if __name__ == "__main__":
    torch.manual_seed(0)
    target = sys.argv[1] if len(sys.argv) > 1 else "gated_block.safetensors"
    written = dump_case(target, GatedBlock(24, 40), {"x": torch.randn(2, 5, 24)}, "example.gated_block", "gated_block",
                        {"dim": 24, "hidden": 40}, source="tools/dump_case.py GatedBlock")
    print(f"{target}: {', '.join(sorted(written))}")
