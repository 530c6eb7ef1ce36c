"""Draws the result of `cost`: one panel for each thing that is varied, in logarithms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter, NullLocator, ScalarFormatter


def draw(path: Path, result: dict[str, Any]) -> None:
    """Write the picture of `result` to `path`: costs, the power law, the straight line through them, and
    what a cost in proportion (exponent 1) would be."""
    growths = result["growth"]
    columns = min(2, len(growths))
    rows = -(-len(growths) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(4.6 * columns, 3.4 * rows), constrained_layout=True, squeeze=False
    )
    for axis in axes.flat[len(growths) :]:
        axis.set_visible(False)
    for axis, growth in zip(axes.flat, growths, strict=False):
        _panel(axis, growth)
    figure.suptitle(f"{result['bundle']} on {result['machine']['cpu']}", fontsize=10)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(axis: Any, growth: dict[str, Any]) -> None:
    used = [row for row in growth["rows"] if row["x"] > 0 and row["cost"] > 0]
    x = np.array([row["x"] for row in used], float)
    y = np.array([row["cost"] for row in used], float)
    axis.set_xscale("log")
    axis.set_yscale("log")
    title = growth["name"]
    if growth["exponent"] is not None:
        found = growth["exponent"]
        low = "" if found["low"] is None else f" ({found['low']:.2f} to {found['high']:.2f})"
        title += f": exponent {found['value']:.2f}{low}"
        level = np.exp(np.mean(np.log(y)) - found["value"] * np.mean(np.log(x)))
        axis.plot(x, level * x ** found["value"], color="C0", linewidth=1, label="power law")
        line, dense = growth["line"], np.geomspace(x.min(), x.max(), 60)
        label = f"{line['fixed']:.3g} + {line['each']:.3g} for each {growth['each']}"
        axis.plot(
            dense, line["fixed"] + line["each"] * dense, "--", color="C1", linewidth=1, label=label
        )
        axis.plot(x, y[0] * x / x[0], ":", color="0.5", linewidth=1, label="in proportion")
        axis.legend(fontsize=7, loc="upper left")
    for row, at, cost in zip(used, x, y, strict=True):
        spans = min(row["rounds"]), max(row["rounds"])
        axis.plot([at, at], spans, color="C0", linewidth=3, alpha=0.35)
        axis.plot(at, cost, "o", color="C0", markersize=5)
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(growth["x"], fontsize=9)
    axis.set_ylabel(growth["y"], fontsize=9)
    axis.set_xticks(x, [row["label"].removesuffix(" min") for row in used], fontsize=8)
    axis.xaxis.set_minor_locator(NullLocator())
    if y.size and y.max() / y.min() < 20:
        axis.yaxis.set_major_formatter(ScalarFormatter())
        axis.yaxis.set_minor_formatter(ScalarFormatter())
        axis.tick_params(axis="y", which="both", labelsize=7)
    else:
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.tick_params(axis="y", labelsize=8)
    axis.grid(alpha=0.3, which="both")
