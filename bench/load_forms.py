#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Loads a model in several forms, interleaved, and prints a Markdown table: the least processor time
and the least wall time of ROUNDS rounds.

    bench/load_forms.py build/demo/examples/allot/allot FILE.gguf [ROUNDS]
"""
import json
import resource
import subprocess
import sys

FORMS = {
    "as in the file": [],
    "dequantized to F16": ["--dequantize", "f16"],
    "dequantized to F32": ["--dequantize", "f32"],
    "fused": ["--fuse", "qkv,gate-up"],
    "`output.weight` as F16": ["--dequantize", "output.weight=f16"],
    "the same, transposed": ["--dequantize", "output.weight=f16", "--transpose", "output.weight"],
    "every row padded": ["--pad", "every-row"],
}
DEVICES = ["host", "staged-host"]


def processor_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main():
    tool, model = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    processor, wall, held = {}, {}, {}
    for _ in range(rounds):
        for form, options in FORMS.items():
            for device in DEVICES:
                before = processor_seconds()
                command = [tool, "load", model, "--device", device, "--json", *options]
                told = json.loads(subprocess.check_output(command))
                key = (form, device)
                processor[key] = min(processor.get(key, 1e9), processor_seconds() - before)
                wall[key] = min(wall.get(key, 1e9), told["seconds"])
                held[form] = told["arena"]["used"]
    print("| form | MiB in memory | " + " | ".join(f"{d}: CPU s | wall s" for d in DEVICES) + " |")
    print("|---|" + "---|" * (1 + 2 * len(DEVICES)))
    for form in FORMS:
        cells = [f"{processor[form, d]:.2f} | {wall[form, d]:.2f}" for d in DEVICES]
        print(f"| {form} | {held[form] / 2**20:,.0f} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
