"""Draws the result of `sessions`: delay and latency against the number of sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

_LINES = {
    "delay_p99": ("delay p99", "C3", "-"),
    "delay_p95": ("delay p95", "C1", "-"),
    "delay_p50": ("delay p50", "C0", "-"),
    "latency_p99": ("latency p99, which does not see the queue", "0.5", ":"),
}


def draw(path: Path, result: dict[str, Any]) -> None:
    """Write the picture of `result` to `path`. A circle marks numbers at which something was given up."""
    rows = sorted(result["rows"], key=lambda row: int(row["sessions"]))
    figure, axis = plt.subplots(figsize=(7.5, 4.2), constrained_layout=True)
    for key, (label, color, style) in _LINES.items():
        points = [(row["sessions"], row[key]) for row in rows if row[key] is not None]
        if points:
            axis.plot(
                *zip(*points, strict=True), f"o{style}", color=color, label=label, markersize=3
            )
    given_up = [
        (row["sessions"], row["delay_p95"])
        for row in rows
        if (row["lowered"] or row["dropped_share"] or row["ended_early"]) and row["delay_p95"]
    ]
    if given_up:
        axis.plot(
            *zip(*given_up, strict=True),
            "o",
            markerfacecolor="none",
            markeredgecolor="C1",
            markersize=11,
            linestyle="none",
            label="frames were dropped, or fewer analyzed",
        )
    if "p99_bound_ms" in result:
        bound, peak = result["p99_bound_ms"], result["peak"]
        axis.axhline(bound, color="C3", linewidth=0.8, linestyle="--")
        axis.axvline(peak, color="C3", linewidth=0.8, linestyle="--")
        axis.set_title(f"p99 of the delay within {bound:g} ms: up to {peak} sessions", fontsize=10)
    axis.set_yscale("log")
    processes = "1 process" if result["workers"] == 1 else f"{result['workers']} processes"
    axis.set_xlabel(f"sessions, {result['arrivals']}, {processes}")
    axis.set_ylabel("ms")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
