"""One table of runs: settings, metrics, time and memory.

It takes finished runs, unfinished ones, and runs from before there was a summary. What a run does not say
stays blank.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from affectstream.stream.errors import OptionError
from affectstream.stream.sinks.base import writing
from affectstream.train.config import read_toml
from affectstream.train.errors import RunError
from affectstream.train.evaluate.table import aligned
from affectstream.train.files import encode_json, write_atomically
from affectstream.train.fit.checkpoint import (
    BEST,
    CONFIG,
    LAST,
    LOG,
    SUMMARY,
    dataset_of,
    load,
    overfitting,
    read_log,
)
from affectstream.train.studies.cross_validation import FOLDER as FOLDS
from affectstream.train.studies.cross_validation import RESULT
from affectstream.train.studies.tune import FOLDER as TRIALS

COLUMNS = (
    *("run", "recipe", "data", "parameters", "trainable", "best epoch", "epochs"),
    *("overfitting", "minutes", "RAM MB", "GPU MB", "device"),
)
"""Before the metrics. The first epoch is 0, as in the log and the checkpoints; ``epochs`` is their number."""
SUFFIXES = (".md", ".csv", ".json")

Row = dict[str, Any]


def find_runs(folder: Path) -> list[Path]:
    """The runs in `folder`, or `folder` itself, without folds and trials. Raises `RunError` if none."""
    if not folder.is_dir():
        raise RunError(f"{folder} not found: expected a folder of runs, made by 'train fit'")
    runs = sorted(_walk(folder))
    if not runs:
        raise RunError(f"{folder} holds no run: expected {LOG} or {BEST} in a subfolder")
    return runs


def _walk(folder: Path) -> Iterator[Path]:
    if _is_run(folder) or (folder / FOLDS / RESULT).is_file():
        yield folder
    for path in folder.iterdir():
        if path.is_dir() and path.name not in (FOLDS, TRIALS):
            yield from _walk(path)


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in (LOG, BEST, SUMMARY))


def table(folders: Iterable[Path]) -> list[Row]:
    """A row for each run in `folders`, and one for each cross-validation: the mean over its folds.

    Columns are `COLUMNS`, then all metrics of the runs; None where a run does not say. Raises `RunError` as
    `find_runs`.
    """
    runs = list(dict.fromkeys(run for folder in folders for run in find_runs(folder)))
    found = [row for run in runs for row in _rows(run)]
    metrics = list(dict.fromkeys(name for row in found for name in row["metrics"]))
    return [
        {**{k: row.get(k) for k in COLUMNS}, **{k: row["metrics"].get(k) for k in metrics}}
        for row in found
    ]


def _rows(run: Path) -> Iterator[Row]:
    if _is_run(run):
        yield row_of(run)
    if (run / FOLDS / RESULT).is_file():
        result = _read_json(run / FOLDS / RESULT)
        yield {
            "run": f"{run / FOLDS}, {len(result['folds'])} folds",
            "recipe": result["recipe"],
            "data": Path(result["data"]).name,
            "minutes": round(sum(fold["minutes"] for fold in result["folds"]), 1),
            "metrics": result["mean"],
        }


def row_of(run: Path) -> Row:
    """The columns of one run, with ``metrics``, a mapping, of its best epoch."""
    summary = _read_json(run / SUMMARY) if (run / SUMMARY).is_file() else _read_checkpoints(run)
    config = read_toml(run / CONFIG) if (run / CONFIG).is_file() else {}
    peak = summary.get("peak_megabytes")
    if isinstance(peak, (int, float)):  # older summaries do not tell RAM and GPU apart
        peak = {"ram" if summary.get("device") == "cpu" else "gpu": peak}
    minutes = summary.get("minutes")
    return {
        "run": str(run),
        "recipe": summary.get("recipe") or config.get("recipe"),
        "data": Path(config["data"]).name if "data" in config else summary.get("data"),
        "parameters": summary.get("parameters"),
        "trainable": summary.get("trainable"),
        "best epoch": summary.get("best_epoch"),
        "epochs": max(len(read_log(run)), summary.get("epochs") or 0) or None,
        "overfitting": overfitting(run),
        "minutes": None if minutes is None else round(minutes, 1),
        **{f"{kind.upper()} MB": round(value) for kind, value in (peak or {}).items()},
        "device": summary.get("device"),
        "metrics": summary.get("figures") or {},
    }


def _read_checkpoints(run: Path) -> dict[str, Any]:
    """The entries of a summary that the checkpoints of a run without one hold."""
    found: dict[str, Any] = {}
    if (run / BEST).is_file():
        best = load(run / BEST)
        found = {
            "recipe": best["recipe"],
            "best_epoch": best.get("epoch"),
            "figures": best.get("figures"),
            "data": dataset_of(best).get("name"),
        }
    if (run / LAST).is_file():
        last = load(run / LAST)
        found |= {"recipe": last["recipe"], "peak_megabytes": last.get("peak")}
        if "seconds" in last:
            found["minutes"] = last["seconds"] / 60
    return found


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} is no summary of a run")
    return content


def cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The table as text, its header first, without empty columns."""
    shown = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    return [shown, *([_cell(name, row[name]) for name in shown] for row in rows)]


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        form = {"minutes": ".1f", "overfitting": "+.0%"}.get(name, ".4f")
        return format(value, form)
    return f"{value:,}" if isinstance(value, int) else str(value)


def lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table for a terminal."""
    return aligned(cells(rows))


def write(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the table as Markdown, CSV or JSON, by the suffix of `path`.

    Raises `OptionError` for another suffix, `OutputError` where the disk refuses.
    """
    if path.suffix not in SUFFIXES:
        raise OptionError(f"--output {path}: expected a name that ends in {', '.join(SUFFIXES)}")
    if path.suffix == ".json":
        content = encode_json(rows)
    elif path.suffix == ".csv":
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        content = out.getvalue().encode()
    else:
        head, *body = ([cell.replace("|", "\\|") for cell in row] for row in cells(rows))
        markdown = [head, ["---"] * len(head), *body]
        content = "".join(f"| {' | '.join(row)} |\n" for row in markdown).encode()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def draw(run: Path, path: Path) -> None:
    """Draw the training curves of a run as a PNG: losses on the left, other metrics on the right.

    Raises `RunError` for a run without a log, `OutputError` where the disk refuses.
    """
    from matplotlib.figure import Figure

    epochs = read_log(run)
    if not epochs:
        raise RunError(f"{run} has no {LOG}: nothing to draw")
    numbers = [row["epoch"] for row in epochs]
    names = dict.fromkeys(name for row in epochs for name in row)
    losses = {"loss": "training", "valid_loss": "validation"}
    page = Figure(figsize=(10.0, 4.0), layout="constrained")
    page.suptitle(str(run))
    left, right = page.subplots(1, 2)
    for axis, title, labels in (
        (left, "loss", {name: label for name, label in losses.items() if name in names}),
        (right, "split valid", {n: n for n in names if n not in ("epoch", "rate", *losses)}),
    ):
        for name, label in labels.items():
            values = [row.get(name, float("nan")) for row in epochs]
            axis.plot(numbers, values, marker="." if len(numbers) < 40 else "", label=label)
        axis.set(xlabel="epoch", title=title)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        if labels:
            axis.legend()
    if (best := row_of(run)["best epoch"]) is not None:
        right.axvline(best, color="grey", linestyle=":", label="best")
        right.legend()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        page.savefig(path, dpi=120)
