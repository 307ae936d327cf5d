"""tools_test.py TOOLS VERIFY FOLDER: tests dump_case.py and to_safetensors.py; exit 77 where there is no PyTorch."""
import argparse
import json
import os
import shutil
import subprocess
import sys

try:
    import torch
    from torch import nn
except ImportError:
    print("skipped: no PyTorch")
    sys.exit(77)

tools, verify, folder = sys.argv[1:]
sys.dont_write_bytecode = True
sys.path.insert(0, tools)
from dump_case import dump_case  # noqa: E402

shutil.rmtree(folder, ignore_errors=True)
os.makedirs(folder)
os.chdir(folder)


def expect(condition, text):
    if not condition:
        sys.exit(f"failed: {text}")


def read(path):
    """The header and the bytes of each tensor."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    return header, {name: data[slice(*entry["data_offsets"])] for name, entry in header.items() if name[0] != "_"}


def convert(*arguments):
    command = [sys.executable, os.path.join(tools, "to_safetensors.py"), *arguments, "-o", "out.safetensors"]
    return subprocess.run(command, capture_output=True, text=True)


def refused(*arguments, reason):
    result = convert(*arguments)
    expect(result.returncode != 0 and not result.stdout and not os.path.exists("out.safetensors"), f"{arguments} passed")
    line = result.stderr
    expect(line.startswith("to_safetensors: ") and line.count("\n") == 1 and reason in line, f"{arguments}: {line}")


# A case of a Linear, which C++ computes; one with a changed output must fail.
torch.manual_seed(0)
linear, x = nn.Linear(5, 7), torch.randn(2, 3, 5)
dump_case("case.safetensors", linear, {"x": x}, system="my.module", case="linear", config={"in": 5, "out": 7},
          output_names=["y"], call=lambda module, x: module(x))
passed = subprocess.run([verify, "case.safetensors"], capture_output=True, text=True)
expect(passed.returncode == 0, passed.stdout + passed.stderr)
tensors = [line.split()[1] for line in passed.stdout.splitlines()]
expect(tensors == ["grad_input/x", "grad_param/bias", "grad_param/weight", "output/y"], tensors)
header, _ = read("case.safetensors")
changed = bytearray(open("case.safetensors", "rb").read())
start = len(changed) - max(entry["data_offsets"][1] for name, entry in header.items() if name[0] != "_")
changed[start + header["output/y"]["data_offsets"][0] + 2] ^= 0x40  # the highest bits of a mantissa
open("changed.safetensors", "wb").write(changed)
failed = subprocess.run([verify, "changed.safetensors"], capture_output=True, text=True)
expect(failed.returncode == 1 and "FAIL output/y" in failed.stdout, failed.stdout + failed.stderr)

# Checkpoints: plain, wrapped, with prefixes, of several dtypes; every name and byte unchanged.
state = {"w": torch.randn(4, 3), "half": torch.randn(3).half(), "brain": torch.randn(2, 2).bfloat16(),
         "steps": torch.tensor(5), "empty": torch.empty(0, 3), "view": torch.randn(2, 3).t(), "mask": torch.tensor([True])}
state["tied"] = state["w"]
torch.save(state, "plain.pth")
torch.save({"epoch": 3, "ema": {"model": state}}, "wrapped.ckpt")
for arguments in (["plain.pth"], ["wrapped.ckpt", "--key", "ema.model"]):
    result = convert(*arguments)
    expect(result.returncode == 0, result.stderr)
    header, data = read("out.safetensors")
    expect(set(data) == set(state), list(data))
    for name, tensor in state.items():
        expect(header[name]["shape"] == list(tensor.shape), name)
        expect(data[name] == tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes(), name)
    codes = [header[name]["dtype"] for name in ("w", "half", "brain", "steps", "mask")]
    expect(codes == ["F32", "F16", "BF16", "I64", "BOOL"], codes)
    os.remove("out.safetensors")
expect(convert("encoder=plain.pth", "decoder=plain.pth").returncode == 0, "prefixes")
expect(set(read("out.safetensors")[1]) == {f"{part}.{name}" for part in ("encoder", "decoder") for name in state}, "names")
os.remove("out.safetensors")


# What training scripts save beside the tensors is passed over.
torch.save({"epoch": 3, "model": state, "args": argparse.Namespace(rate=0.1)}, "training.pth")
result = convert("training.pth", "--key", "model")
expect(result.returncode == 0, result.stderr)
header, data = read("out.safetensors")
expect(set(data) == set(state), list(data))
for name, tensor in state.items():
    expect(data[name] == tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes(), f"training.pth: {name}")
os.remove("out.safetensors")
refused("training.pth", reason="entry 'epoch' is no tensor; candidates for --key: ['model']")
torch.save(nn.Linear(2, 3), "module.pt")
refused("module.pt", reason="it is a torch.nn.modules.linear.Linear; where that class is known,")
refused("case.safetensors", reason="case.safetensors: it is a safetensors file already")


class Code:
    def __reduce__(self):
        return os.system, ("touch ran",)


torch.save({"x": Code()}, "code.pt")
torch.save({"model": state, "args": Code()}, "beside.pt")
expect(convert("beside.pt", "--key", "model").returncode == 0, "code beside tensors")
os.remove("out.safetensors")
open("text.pt", "w").write("no checkpoint")
refused("code.pt", reason="code.pt: cannot be read as plain tensors")
refused("text.pt", reason="text.pt: cannot be read as plain tensors")
refused("absent.pt", reason="No such file")
refused("wrapped.ckpt", reason="candidates for --key: ['ema']")
refused("plain.pth", "--key", "model", reason="no dict of tensors under --key model")
refused("plain.pth", "plain.pth", reason="was already read from another file")
expect(not os.path.exists("ran"), "code in a checkpoint ran")
