#!/usr/bin/env python3
"""Seconds and memory that the compiler takes for typical programs, and for each public header alone, without code.

Programs are compiled in turn, medians of several rounds; headers once, the slowest first. With --json FILE the same in
the form of Google Benchmark, which `./dev bench report` puts on the page.
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
INCLUDE = HERE.parent.parent / "include"
PROGRAMS = [("umbrella", "-O0"), ("sd3_block", "-O2"), ("sd3_training", "-O2")]


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds of the user's time, and megabytes (10^6 bytes) at most, of a command."""
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"compile_time: {' '.join(command)} ended with status {process.returncode}")
    return usage.ru_utime, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def processor_name() -> str:
    """As bench/peers/processor.cpp has it."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return "unknown"
    fields = dict(re.findall(r"^(.*?)\s*: (.*)$", text, re.MULTILINE))
    name = fields.get("model name", "unknown")
    return f"{name} (family {fields['cpu family']} model {fields['model']})" if "cpu family" in fields else name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--rounds", type=int, default=5, help="of the programs")
    parser.add_argument("--headers", action=argparse.BooleanOptionalAction, default=True, help="each header too")
    parser.add_argument("--compiler", default=os.environ.get("CXX", "c++"))
    parser.add_argument("--eigen", default="/usr/include/eigen3", help="the folder with Eigen/Core")
    options = parser.parse_args()
    compiler = [options.compiler, "-std=c++20", "-march=native", f"-I{INCLUDE}", "-isystem", options.eigen]
    version = subprocess.run([options.compiler, "--version"], capture_output=True, text=True, check=True).stdout
    print(version.splitlines()[0])

    lines = []

    def tell(name: str, seconds: float, megabytes: float) -> None:
        print(f"{name:<50} {seconds:6.2f} s user  {megabytes:5.0f} MB", flush=True)
        lines.append({"name": name, "run_type": "iteration", "time_unit": "s", "cpu_time": seconds,
                      "real_time": seconds, "MB": megabytes})

    with tempfile.TemporaryDirectory() as folder:
        rounds = [[measured(compiler + [level, "-c", str(HERE / f"{name}.cpp"), "-o", f"{folder}/object.o"])
                   for name, level in PROGRAMS] for _ in range(options.rounds)]
        for (name, level), times in zip(PROGRAMS, zip(*rounds)):
            tell(f"{name} {level}", statistics.median(t for t, _ in times), statistics.median(m for _, m in times))
        if options.headers:
            source = pathlib.Path(folder) / "header.cpp"
            headers = []
            for header in sorted(INCLUDE.rglob("*.hpp")):
                name = header.relative_to(INCLUDE).as_posix()
                source.write_text(f'#include "{name}"\n')
                headers.append((name, *measured(compiler + ["-fsyntax-only", str(source)])))
            for header in sorted(headers, key=lambda h: -h[1]):
                tell(*header)
    if options.json:
        context = {"executable": "compile_time", "processor": processor_name(), "compiler": version.splitlines()[0]}
        pathlib.Path(options.json).write_text(json.dumps({"context": context, "benchmarks": lines}, indent=1))


if __name__ == "__main__":
    main()
