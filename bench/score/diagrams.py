"""The table and the reliability diagrams of ``bench confidence``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

Rows = Mapping[str, Mapping[str, Any]]
"""The metrics of each set of modalities."""

INPUTS = ("clean", "degraded")
_COLUMNS = 4
_LEAST = 0.01
"""Bins with a smaller share of the samples are not drawn."""


def table(rows: Rows) -> str:
    """Markdown, one line for each set of modalities."""
    lines = [
        "| modalities | accuracy | ECE clean | ECE degraded | with a label | accuracy of labels | less the "
        "best alone | less the product |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        ece = [_error(row["reliability"].get(kind)) for kind in INPUTS]
        gaps = [_gap(row.get(rival)) for rival in ("less_best", "less_product")]
        shares = [f"{row[key]:.3f}" for key in ("accuracy", "with_label", "accuracy_of_labels")]
        cells = [name, shares[0], *ece, *shares[1:], *gaps]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "| bundle as it is | ECE clean | ECE degraded | too sure by | too sure by, degraded |",
    ]
    lines.append("|---|---|---|---|---|")
    for name, row in rows.items():
        own = [row.get("bundle", {}).get(kind) for kind in INPUTS]
        over = ["" if of is None else f"{of['over']:+.3f}" for of in own]
        lines.append(f"| {' | '.join([name, *map(_error, own), *over])} |")
    apart = {name: row["degradations"] for name, row in rows.items() if "degradations" in row}
    lines += [
        "",
        "| degradation, person | samples | accuracy | confidence less accuracy |",
        "|---|---|---|---|",
    ]
    lines += [
        _part(f"{m}: {kind}", row) for m, kinds in apart.items() for kind, row in kinds.items()
    ]
    for name, row in rows.items():
        people = row.get("by_person", {})
        lines += [_part(f"{name} of {person}", found) for person, found in people.items()]
    return "\n".join(lines)


def _error(row: Mapping[str, Any] | None) -> str:
    """The plain error, that of a perfect confidence, and the debiased one with its interval."""
    if row is None:
        return ""
    debiased = f"{row['debiased']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['ece']:.3f} ({row['chance']:.3f}); {debiased}"


def _gap(row: Mapping[str, float] | None) -> str:
    return "" if row is None else f"{row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"


def _part(name: str, row: Mapping[str, Any]) -> str:
    interval = f" [{row['over_low']:+.3f}, {row['over_high']:+.3f}]" if row["people"] > 1 else ""
    return f"| {name} | {row['samples']} | {row['accuracy']:.3f} | {row['over']:+.3f}{interval} |"


def draw(rows: Rows, path: Path) -> None:
    """Reliability diagrams: for each set of modalities the accuracy by confidence, with intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = -(-len(rows) // _COLUMNS)
    size = (3 * _COLUMNS, 3.1 * lines)
    figure, axes = pyplot.subplots(lines, _COLUMNS, figsize=size, squeeze=False)
    for axis in axes.flat[len(rows) :]:
        axis.axis("off")
    for axis, (name, row) in zip(axes.flat, rows.items(), strict=False):
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for kind, found in row["reliability"].items():
            bins = [one for one in found["bins"] if one["share"] > _LEAST]
            axis.errorbar(
                [one["confidence"] for one in bins],
                [one["accuracy"] for one in bins],
                [
                    [max(0.0, one["accuracy"] - one["low"]) for one in bins],
                    [max(0.0, one["high"] - one["accuracy"]) for one in bins],
                ],
                marker="o",
                markersize=4,
                elinewidth=0.8,
                label=f"{kind}: {found['debiased']:.3f}",
            )
        axis.set(title=name, xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="right")
        axis.legend(title="ECE, debiased", fontsize=8, title_fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
