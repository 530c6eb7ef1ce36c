"""Draws the result of `speed`: latency and throughput against the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt


def draw(path: Path, result: dict[str, Any]) -> None:
    """Write the picture of `result` to `path`."""
    engines = list(dict.fromkeys(row["engine"] for row in result["rows"]))
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), constrained_layout=True)
    for engine in engines:
        rows = [row for row in result["rows"] if row["engine"] == engine]
        batches = [row["batch"] for row in rows]
        latency = [row.get("latency", row["host"]) for row in rows]
        width = 2.4 if engine == "hop" else 1.2
        (line,) = left.plot(
            batches,
            [t["median"] for t in latency],
            "o-",
            label=engine,
            linewidth=width,
            markersize=3,
        )
        tails = [t.get("p99", t["max"]) for t in latency]
        left.plot(batches, tails, ":", color=line.get_color(), linewidth=1)
        right.plot(
            batches, [row["rows_per_s"] for row in rows], "o-", linewidth=width, markersize=3
        )
    left.set_ylabel("latency, ms: median and (dotted) p99 or largest")
    right.set_ylabel("rows a second (hop: sessions' hops a second)")
    for axis in (left, right):
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xlabel("batch")
        axis.grid(alpha=0.3)
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    gpu = result["gpu"].get("before", {}).get("name") if result["gpu"] else None
    figure.suptitle(f"{result['bundle']} on {result['device']}, {gpu or result['machine']['cpu']}")
    figure.savefig(path, dpi=110)
    plt.close(figure)
