#!/usr/bin/env python3
"""Converts PyTorch checkpoints (.pt .pth .ckpt .bin) to one safetensors file, names unchanged. Needs PyTorch >= 1.13.

    to_safetensors.py model.pth -o model.safetensors
    to_safetensors.py run.ckpt --key state_dict -o model.safetensors     (a wrapped state dict; nested: --key ema.model)
    to_safetensors.py encoder=a.ckpt masknet=b.ckpt decoder=c.ckpt -o all.safetensors   (names become encoder.NAME, ...)
No code in the files runs: objects of classes that no tensor needs (options, optimizers) are passed over. A tensor that
several names share is written under each.
"""
import argparse
import collections
import io
import json
import os
import pickle
import zipfile

try:
    import torch
except ImportError:
    raise SystemExit("to_safetensors: this Python has no PyTorch (pip install torch, or apt-get install python3-torch "
                     "and run it with /usr/bin/python3)") from None

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


class Inert:
    """Stands for an object of a class that no tensor needs; whatever made or filled that one does nothing here."""
    origin = "?"

    def __new__(cls, *_, **__):
        return object.__new__(cls)

    def __init__(self, *_, **__):
        pass

    def nothing(self, *_, **__):
        pass

    __call__ = __setstate__ = __setitem__ = append = extend = add = update = nothing


STORAGES = {"DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
            "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
            "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
            "BoolStorage": torch.bool}


def rebuild_tensor(storage: torch.Tensor, offset: int, size: tuple, stride: tuple, *_) -> torch.Tensor:
    return torch.as_strided(storage, size, stride, offset)  # which checks the bounds


class PlainUnpickler(pickle.Unpickler):
    """Makes tensors and the containers around them, and for everything else something inert. It finds no class and no
    function but those below; not torch.load(pickle_module=...), which PyTorch 1.13.0 ignores."""
    def __init__(self, archive: zipfile.ZipFile):
        self.archive, self.storages = archive, {}
        self.root = next(name for name in archive.namelist() if name.endswith("/data.pkl"))[:-len("data.pkl")]
        super().__init__(io.BytesIO(archive.read(self.root + "data.pkl")))

    def find_class(self, module: str, name: str):
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        known = {("collections", "OrderedDict"): collections.OrderedDict,
                 ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
                 ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor}
        return known.get((module, name)) or type(name.split(".")[-1], (Inert,), {"origin": f"{module}.{name}"})

    def persistent_load(self, place: tuple) -> torch.Tensor:
        _, dtype, key, *_ = place
        if key not in self.storages:
            data = bytearray(self.archive.read(f"{self.root}data/{key}"))
            self.storages[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return self.storages[key]


def load(path: str):
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except Exception as error:  # torch.load raises many types on foreign bytes
        with open(path, "rb") as file:
            if file.read(9)[8:] == b"{":
                raise ValueError(f"{path}: it is a safetensors file already") from None
        try:
            with zipfile.ZipFile(path) as archive:
                return PlainUnpickler(archive).load()
        except Exception:  # so does a pickle
            reason = (str(error).split("WeightsUnpickler error: ")[-1].strip() or "?").splitlines()[0]
            raise ValueError(f"{path}: cannot be read as plain tensors: {type(error).__name__}: {reason}") from None


def read_checkpoint(path: str, key: str) -> dict[str, torch.Tensor]:
    state = load(path)
    if isinstance(state, Inert):
        raise ValueError(f"{path}: cannot be read as plain tensors: it is a {state.origin}; where that class is "
                         "known, torch.save(model.state_dict(), ...) writes the tensors")
    found = list(state)[:12] if isinstance(state, dict) else type(state).__name__
    for part in key.split(".") if key else []:
        state = state.get(part) if isinstance(state, dict) else None
    if not isinstance(state, dict) or not state:
        raise ValueError(f"{path}: no dict of tensors{f' under --key {key}' if key else ''}; the file holds {found}")
    inner = [name for name, value in state.items() if isinstance(value, dict)]
    for name, value in state.items():
        if isinstance(value, Inert) and not inner:
            raise ValueError(f"{path}: cannot be read as plain tensors: '{name}' is a {value.origin}")
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{path}: entry '{name}' is no tensor; candidates for --key: {inner}")
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
