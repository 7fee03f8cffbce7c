# SPDX-License-Identifier: MIT
"""Turns the results of measure.py into the tables of benchmarks.md and its charts. Called by bench/run.

    report.py RESULTS.json FOLDER

FOLDER holds benchmarks.md, whose part between the two markers is replaced; charts/*.svg go there, too.
"""
import json
import os
import statistics
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "allot", "svg.fonttype": "none", "font.size": 10, "font.family": "sans-serif",
                            "axes.spines.top": False, "axes.spines.right": False, "figure.constrained_layout.use": True})
import matplotlib.pyplot as plot  # noqa: E402

BEGIN, END = "<!-- bench/run: begin -->", "<!-- bench/run: end -->"
STRATEGIES = ["BestFit", "FirstFit", "GoodFit", "Buddy"]
ORDER = ["WritesOnly", "GoodFit", "Buddy", "BestFit", "FirstFit", "WideBuddy", "WideBestFit", "WideFirstFit",
         "GoodFit,Locked", "BestFit,Locked", "WideBestFit,AlignTo<1>",
         "GoodFit,AlignTo<4096>", "BestFit,AlignTo<4096>", "multimap-best-fit", "list-best-fit",
         "interprocess-rbtree-best-fit", "interprocess-simple-seq-fit", "malloc", "mimalloc", "jemalloc", "pmr-pool"]
COLOURS = dict(zip(STRATEGIES, ["#1f5fbf", "#d9822b", "#2e8b57", "#8e44ad"]))
PLAIN = "#9aa3ad"


class Results:
    def __init__(self, path):
        with open(path) as file:
            self.all = json.load(file)
        self.rows = self.all["strategies"]

    def figures(self, allocator, figure, workload, **where):
        return [row[figure] for row in self.rows
                if row["allocator"] == allocator and row["workload"] == workload and row[figure] is not None
                and all(row.get(key) == value for key, value in where.items())]

    def one(self, allocator, figure, workload, **where):
        """The mean over what is not fixed (the seeds), or None."""
        found = self.figures(allocator, figure, workload, **where)
        return statistics.mean(found) if found else None

    def allocators(self):
        there = {row["allocator"] for row in self.rows}
        return [name for name in ORDER if name in there] + sorted(there - set(ORDER))

    def lives(self):
        return sorted({row["live"] for row in self.rows if "live" in row})


def number(value, digits=0):
    return "" if value is None else f"{value:,.{digits}f}"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def named(allocator):
    """Arenas by their policies, as code; what is not allot's as it is."""
    return f"`{allocator}`" if allocator.split(",")[0] in STRATEGIES else allocator


def columns(results, fill):
    """(title, workload, where)"""
    found = [(f"{kind[6:]} {live:,}", kind, {"live": live, "fill": fill})
             for kind in ("churn-log", "churn-rec") for live in results.lives()]
    return found + [(kind, kind, {}) for kind in ("serving", "step") if any(row["workload"] == kind for row in results.rows)]


def times(results):
    at = columns(results, 85)
    rows = [[named(allocator)] + [number(results.one(allocator, "ns", kind, **where, **({"seed": 1} if where else {})))
                                  for _, kind, where in at] for allocator in results.allocators()]
    return ["One allocation and one free, ns, medians; log and rec: churns at 85 % fill with that many live blocks.", ""] + \
        table(["allocator"] + [title for title, _, _ in at], rows)


def refusals(results):
    text = []
    for fill in (85, 95):
        at = columns(results, fill)
        rows = []
        for allocator in results.allocators():
            figures = [results.one(allocator, "refused_percent", kind, **where) for _, kind, where in at]
            if any(figures):
                rows.append([named(allocator)] + [number(figure, 2) for figure in figures])
        seeds = len({row.get("seed") for row in results.rows if "seed" in row})
        text += [f"Refused, % of all requests, at {fill} % fill (mean of {seeds} seeds if they were run; allocators "
                 "not listed refused none):", ""] + table(["allocator"] + [title for title, _, _ in at], rows)
    return text


def space(results):
    lives = results.lives()
    names = [name for name in results.allocators() if results.figures(name, "footprint", "churn-log")]
    where = [{"live": live, "fill": 85} for live in lives]
    rows = [[named(name)] + [number(results.one(name, "bytes_per_block", "churn-log", **w), 1) for w in where] +
            [number(results.one(name, "footprint", "churn-log", **w), 2) for w in where] for name in names]
    return ["Bookkeeping in bytes for each of the blocks live at once, and the highest end of any block over the most "
            "bytes live at once; churn-log, 85 % (the capacity is 1.18 times what is live):", ""] + \
        table(["allocator"] + [f"bytes, {live:,}" for live in lives] + [f"footprint, {live:,}" for live in lives], rows)


def threads(results):
    figure = {(row["kind"], row["strategy"], row["threads"]): row["per_second"] / 1e6 for row in results.all["threads"]}
    rows = []
    for kind, strategy in sorted({(row["kind"], row["strategy"]) for row in results.all["threads"]}):
        one, two = figure[kind, strategy, 1], figure[kind, strategy, 2]
        rows.append([{"separate": "an arena for each thread"}.get(kind, f"`{kind}`"), f"`{strategy}`",
                     number(one, 1), number(two, 1), number(two / one, 2)])
    return ["Two threads at once, each with its own thousand blocks (`bench_threads`), million pairs a second:", ""] + \
        table(["arena", "strategy", "one thread", "two threads", "ratio"], rows)


def worst(results):
    rows = results.all["worst"]
    cases = list(dict.fromkeys(row["case"] for row in rows))
    figure = {(row["strategy"], row["case"]): row for row in rows}

    def cell(row):
        return f"{row['median_ns'] / 1e3:.2f}, {row['p99.99_ns'] / 1e3:.1f}, {row['worst_ns'] / 1e3:,.0f}"

    operations = {case: figure["BestFit", case]["operations"] for case in cases}
    text = ["The slowest single operation (`bench_worst`, which describes the cases): median, 99.99th percentile and "
            "worst, us, timer included:", ""]
    return text + table(["case", "operations"] + [f"`{name}`" for name in STRATEGIES],
                        [[case, number(operations[case])] + [cell(figure[name, case]) for name in STRATEGIES]
                         for case in cases])


def compile_times(results):
    times = results.all["compile"]
    return ["Seconds of processor time to compile, g++ -O0, least of seven:", ""] + \
        table(["file", "seconds"], [[what, number(seconds, 2)] for what, seconds in times.items()])


def goals(results):
    """What this run says about the goals that need no peer."""
    def ns(name, live, kind="churn-log"):
        return results.one(name, "ns", kind, live=live, fill=85, seed=1)

    lives = results.lives()
    small, large = lives[0], lives[-1]
    growth = ", ".join(f"`{name}` {ns(name, large) / ns(name, small):.1f}" for name in STRATEGIES)
    first = ", ".join(f"{ns('FirstFit', live) / ns('BestFit', live):.2f}" for live in lives)
    mutex = (ns("GoodFit,Locked", small) - ns("GoodFit", small)) / 2
    rate = {(row["kind"], row["strategy"], row["threads"]): row["per_second"] for row in results.all["threads"]}
    shards = ", ".join(f"`{name}` {rate['ShardedArena<2>', name, 2] / rate['ShardedArena<2>', name, 1]:.2f}"
                       for name in ("BestFit", "GoodFit"))
    compiled = results.all["compile"]
    return table(["goal", "here"], [
        ["`FirstFit` at most 2.0 times `BestFit`, churn-log", first],
        [f"growth from {small:,} to {large:,} live (see below for OffsetAllocator's)", growth],
        ["`Locked<std::mutex>` at most 10 ns a call more", f"{mutex:.1f}"],
        ["`ShardedArena<.., 2>` on two threads at least 1.7 times one thread", shards],
        ["a file with one arena compiles in at most 0.6 s",
         f"{compiled['an arena with `BestFit`']:.2f} (`GoodFit` {compiled['an arena with `GoodFit`']:.2f})"]])


def save(figure, folder, name):
    os.makedirs(folder, exist_ok=True)
    figure.savefig(os.path.join(folder, name), format="svg", metadata={"Date": None})
    plot.close(figure)


def chart_of_times(results, folder):
    figure, axes = plot.subplots(1, 2, figsize=(9, 4), sharey=True)
    for axis, kind, title in zip(axes, ("churn-log", "churn-rec"), ("log-uniform sizes", "nine recurring sizes")):
        labels = []
        for name in results.allocators():
            points = [(live, results.one(name, "ns", kind, live=live, fill=85, seed=1)) for live in results.lives()]
            points = [point for point in points if point[1] is not None]
            if "," in name or name in ("pmr-pool", "interprocess-simple-seq-fit") or len(points) < 2:
                continue
            style = {"color": COLOURS[name], "linewidth": 2} if name in COLOURS else {"color": PLAIN, "linewidth": 1}
            axis.plot(*zip(*points), marker="o", markersize=3, **style)
            labels.append((points[-1][1], points[-1][0], name, style["color"] if name in COLOURS else "#555"))
        lowest = 0.0
        for height, live, name, colour in sorted(labels):  # none on top of another
            lowest = max(lowest * 1.16, height)
            axis.annotate(name, (live, lowest), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8,
                          color=colour)
        axis.set(xscale="log", yscale="log", xlabel="live blocks", title=title)
        axis.set_xlim(right=results.lives()[-1] * 12)
        axis.grid(True, which="major", color="#eee")
    axes[0].set_ylabel("ns for one allocation and one free")
    save(figure, folder, "times.svg")


def chart_of_refusals(results, folder):
    figure, axes = plot.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    lives = results.lives()
    for axis, kind, title in zip(axes, ("churn-log", "churn-rec"), ("log-uniform sizes", "nine recurring sizes")):
        for i, name in enumerate(STRATEGIES):
            heights = [results.one(name, "refused_percent", kind, live=live, fill=95) or 0 for live in lives]
            axis.bar([x + 0.2 * (i - 1.5) for x in range(len(lives))], heights, 0.19, color=COLOURS[name], label=name)
        axis.set_xticks(range(len(lives)), [f"{live:,}" for live in lives])
        axis.set(xlabel="live blocks", title=title)
        axis.grid(True, axis="y", color="#eee")
        axis.set_axisbelow(True)
    axes[0].set_ylabel("% of requests refused, 95 % fill")
    axes[0].legend(frameon=False, fontsize=8)
    save(figure, folder, "refusals.svg")


def chart_of_yardsticks(results, folder):
    live = 10_000 if 10_000 in results.lives() else results.lives()[-1]
    bars = [(results.one(name, "ns", "churn-log", live=live, fill=85, seed=1), name) for name in results.allocators()
            if "," not in name and name != "WritesOnly"]
    bars = sorted((bar for bar in bars if bar[0] is not None), reverse=True)
    figure, axis = plot.subplots(figsize=(7, 0.34 * len(bars) + 0.9))
    axis.barh([name for _, name in bars], [ns for ns, _ in bars], color=[COLOURS.get(name, PLAIN) for _, name in bars])
    for i, (ns, name) in enumerate(bars):
        refused = results.one(name, "refused_percent", "churn-log", live=live, fill=95, seed=1)
        note = f"{ns:,.0f} ns" + (f"   ({refused:.1f} % refused at 95 % fill)" if refused is not None else "")
        axis.annotate(note, (ns, i), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    axis.set(xscale="log", title=f"One allocation and one free, {live:,} live blocks, 85 % full (logarithmic)", xlim=(10, bars[0][0] * 12))
    axis.get_xaxis().set_visible(False)
    axis.spines["bottom"].set_visible(False)
    save(figure, folder, "yardsticks.svg")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    results = Results(sys.argv[1])
    page = os.path.join(sys.argv[2], "benchmarks.md")
    charts = os.path.join(sys.argv[2], "charts")
    machine = results.all["machine"]
    text = [BEGIN, f"{machine['processor']}, {machine['cores']} cores, {machine['compiler']}; "
            f"{results.all['seconds'] // 60 + 1} minutes{' (quick)' if results.all['quick'] else ''}.", "",
            "![times by live blocks](charts/times.svg)", "", "![refusals](charts/refusals.svg)", ""]
    for part in (goals, times, refusals, space, worst, threads, compile_times):
        text += part(results)
    text[-1] = END
    with open(page) as file:
        before, rest = file.read().split(BEGIN)
    after = rest.split(END)[1]
    with open(page, "w") as file:
        file.write(before + "\n".join(text) + after)
    for chart in (chart_of_times, chart_of_refusals, chart_of_yardsticks):
        chart(results, charts)
    print(f"wrote {page} and {charts}/*.svg")


if __name__ == "__main__":
    main()
