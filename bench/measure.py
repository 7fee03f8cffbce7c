# SPDX-License-Identifier: MIT
"""Runs the benchmark programs and keeps their results in one JSON file. Called by bench/run.

Google Benchmark's programs run once for each workload, their repetitions interleaved at random, so that other
work on the machine affects all allocators alike. Only the medians are kept.
"""
import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time

MAIN = "WritesOnly|BestFit|FirstFit|GoodFit|Buddy|multimap-best-fit"
LOCKED = "BestFit,Locked|GoodFit,Locked"


def workloads(quick):
    """(name, allocators as a pattern, repetitions)"""
    churns = ["churn-log", "churn-rec"]
    found = []
    for kind in churns:
        for live in (1000, 10_000) if quick else (1000, 10_000, 100_000, 1_000_000):
            for fill in (85, 95):
                for seed in (1,) if quick else (1, 2, 3):
                    name = f"{kind}/live:{live}/fill:{fill}/seed:{seed}"
                    if seed == 1 and (live <= 1000 and fill == 85 if quick else live <= 100_000):
                        found.append((name, ".*", 3 if quick else 5))
                    elif seed == 1:
                        found.append((name, f"{MAIN}|{LOCKED}", 3))
                    elif live <= 100_000:
                        found.append((name, MAIN, 1))
    if not quick:
        found += [("serving", ".*", 5), ("step", ".*", 5)]
    return found


def google_benchmark(program, pattern, repetitions):
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        # jemalloc needs its thread's data in room that the loader reserves when the program starts
        environment = dict(os.environ, GLIBC_TUNABLES="glibc.rtld.optional_static_tls=65536")
        command = [program, f"--benchmark_filter={pattern}", f"--benchmark_repetitions={repetitions}",
                   "--benchmark_enable_random_interleaving=true", "--benchmark_out_format=json",
                   f"--benchmark_out={out.name}"]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        report = json.load(open(out.name))
    return report["benchmarks"]


def medians(benchmarks):
    one = {}
    for row in benchmarks:
        if row.get("aggregate_name", "median") == "median":
            if row["run_type"] == "aggregate" or row.get("repetitions", 1) == 1:
                one[row["run_name"]] = row
    return one.values()


def strategies(build, quick):
    rows = []
    planned = workloads(quick)
    for i, (name, allocators, repetitions) in enumerate(planned):
        progress(f"{i + 1}/{len(planned)} {name}")
        program = os.path.join(build, "bench/bench_strategies")
        for row in medians(google_benchmark(program, f"^{name}/({allocators})/iterations", repetitions)):
            kind, *rest = name.split("/")
            parameters = dict(part.split(":") for part in rest)
            rows.append({"workload": kind, **{key: int(value) for key, value in parameters.items()},
                         "allocator": row["run_name"][len(name) + 1:].split("/iterations")[0],
                         "ns": row["real_time"], "refused_percent": row["refused_%"],
                         "footprint": row.get("footprint"), "bytes_per_block": row.get("bytes/block")})
    return rows


def threads(build, quick):
    progress("threads")
    rows = []
    for row in medians(google_benchmark(os.path.join(build, "bench/bench_threads"), ".*", 3 if quick else 9)):
        kind, strategy, *_ = row["run_name"].split("/")
        rows.append({"kind": kind, "strategy": strategy, "threads": row["threads"],
                     "per_second": row["items_per_second"]})
    return rows


def worst(build, quick):
    progress("worst single operations")
    command = [os.path.join(build, "bench/bench_worst"), "1000000" if quick else "10000000"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def seconds_to_compile(root, text):
    """The least of several: seconds of processor time, with g++ -O0."""
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "one.cpp")
        with open(source, "w") as file:
            file.write(text)
        command = ["g++", "-std=c++20", "-O0", "-I", os.path.join(root, "include"), "-c", source, "-o", source + ".o"]
        least = None
        for _ in range(7):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            least = taken if least is None else min(least, taken)
    return least


def compile_times(root):
    progress("compile times")
    arena = "#include <allot/arena.hpp>\n#include <allot/strategy/{0}.hpp>\nint main() {{\n" \
            "  allot::Arena<allot::{1}> arena{{1 << 20}};\n  arena.deallocate(arena.allocate(3));\n}}\n"
    texts = {"an empty file": "", "`<map>` and `boost/intrusive/set.hpp`":
             "#include <boost/intrusive/set.hpp>\n#include <map>\nint main() {}\n"}
    for header, name in (("best_fit", "BestFit"), ("good_fit", "GoodFit"), ("linear", "Linear")):
        texts[f"an arena with `{name}`"] = arena.format(header, name)
    return {what: seconds_to_compile(root, text) for what, text in texts.items()}


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def machine():
    text = open("/proc/cpuinfo").read()
    model = re.search(r"model name\s*: (.*)", text)
    compiler = subprocess.run(["g++", "-dumpfullversion"], check=True, capture_output=True, text=True).stdout.strip()
    return {"processor": model.group(1) if model else platform.machine(), "cores": os.cpu_count(),
            "compiler": f"g++ {compiler}"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--build", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    start = time.monotonic()
    results = {"machine": machine(), "quick": args.quick, "compile": compile_times(root),
               "threads": threads(args.build, args.quick), "worst": worst(args.build, args.quick),
               "strategies": strategies(args.build, args.quick)}
    results["seconds"] = round(time.monotonic() - start)
    with open(args.output, "w") as file:
        json.dump(results, file, indent=1)
    progress(f"measured in {results['seconds']} s: {args.output}")
    if sys.stderr.isatty():
        print(file=sys.stderr)


if __name__ == "__main__":
    main()
