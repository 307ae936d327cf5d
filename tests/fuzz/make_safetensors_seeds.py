#!/usr/bin/env python3
"""Writes the seeds of safetensors_fuzz to corpus/safetensors/: small files, valid and nearly so."""
import pathlib
import struct

FOLDER = pathlib.Path(__file__).parent / "corpus" / "safetensors"


def file(header: str, data: bytes = b"") -> bytes:
    text = header.encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(name: str, dtype: str, shape: list, begin: int, end: int) -> str:
    dims = ",".join(map(str, shape))
    return f'"{name}":{{"dtype":"{dtype}","shape":[{dims}],"data_offsets":[{begin},{end}]}}'


def each_dtype() -> bytes:
    sizes = dict(BOOL=8, F4=4, F6_E2M3=6, F6_E3M2=6, U8=8, I8=8, F8_E5M2=8, F8_E4M3=8, F8_E8M0=8, F8_E4M3FNUZ=8,
                 F8_E5M2FNUZ=8, I16=16, U16=16, F16=16, BF16=16, I32=32, U32=32, F32=32, C64=64, F64=64, I64=64, U64=64)
    entries, end = [], 0
    for dtype, bits in sizes.items():
        entries.append(entry(dtype.lower(), dtype, [4], end, end + bits // 2))
        end += bits // 2
    return file("{" + ",".join(entries) + "}", bytes(i % 251 for i in range(end)))


a, b = entry("a", "F32", [2, 2], 0, 16), entry("b", "BF16", [3], 16, 22)
SEEDS = {
    "empty": file("{}"),
    "two": file("{" + a + "," + b + "}  ", bytes(range(22))),
    "shuffled": file("{" + b + "," + a + "}", bytes(range(22))),
    "metadata": file('{"__metadata__":{"format":"pt","config":"{\\"a\\":[1,2.5,null]}"},' + a + "}", bytes(16)),
    "escapes": file('{"\\u0061\\ud83c\\udfb6\\n":{"dtype":"U8","x":{"y":[true,-1e3]},"shape":[],"data_offsets":[0,1]}}', b"x"),
    "zeros": file("{" + entry("z", "F32", [0], 0, 0) + "," + a + "," + entry("y", "I64", [3, 0], 16, 16) + "}", bytes(16)),
    "each_dtype": each_dtype(),
    "overlap": file("{" + a + "," + entry("b", "BF16", [3], 14, 20) + "}", bytes(22)),
    "twice": file("{" + a + "," + a + "}", bytes(16)),
    "wraps": file("{" + entry("w", "F32", [1 << 32, 1 << 32], 0, 0) + "}"),
    "length": b"\xff" * 8 + b"{}",
    "json": b'{"weight_map":{"a":"b.safetensors"},"n":[0,-1,2.5e-3,"\\u00e9"],"t":true}',
}

if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS.items():
        (FOLDER / name).write_bytes(data)
