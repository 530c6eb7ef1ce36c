"""Runs side by side: what each was, what it came to and what that took, in one table.

A run is read as it lies: finished or under way, with a summary or of before there was one. What a run does
not say stays blank.
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
from affectstream.train.fit.checkpoint import BEST, CONFIG, LAST, LOG, SUMMARY, dataset_of, load
from affectstream.train.studies.cross_validation import FOLDER as FOLDS
from affectstream.train.studies.cross_validation import RESULT

COLUMNS = (
    "run",
    "recipe",
    "data",
    "parameters",
    "trainable",
    "best epoch",
    "epochs",
    "minutes",
    "RAM MB",
    "GPU MB",
    "device",
)
"""Before the figures. Epochs count from 1 here: ``best epoch`` of ``epochs``."""
SUFFIXES = (".md", ".csv", ".json")
_NO_FIGURES = ("epoch", "loss", "rate")
_PARTS = frozenset({FOLDS, "tune"})
"""Folders of runs that are parts of something else."""

Row = dict[str, Any]


def find(folder: Path) -> list[Path]:
    """The runs in `folder`, or `folder` itself; folds and trials are not runs of their own.

    Raises `RunError` where there is none.
    """
    if not folder.is_dir():
        raise RunError(f"{folder} not found: expected a folder of runs, made by 'train fit'")
    found = sorted(_runs(folder))
    if not found:
        raise RunError(f"{folder} holds no run: expected {LOG} or {BEST} in a folder in it")
    return found


def _runs(folder: Path) -> Iterator[Path]:
    names = {path.name for path in folder.iterdir()}
    if names & {LOG, BEST, SUMMARY} or (folder / FOLDS / RESULT).is_file():
        yield folder
    for path in folder.iterdir():
        if path.is_dir() and path.name not in _PARTS:
            yield from _runs(path)


def table(folders: Iterable[Path]) -> list[Row]:
    """A row for each run in `folders`, and one for the folds of each that was cross-validated.

    Columns are `COLUMNS`, then the figures that any of the runs has; None where a run does not say. The
    figures of folds are the mean over the folds. Raises `RunError` as `find`.
    """
    runs = list(dict.fromkeys(run for folder in folders for run in find(folder)))
    found = [row for run in runs for row in _rows(run)]
    figures = list(dict.fromkeys(name for row in found for name in row["figures"]))
    return [
        {**{k: row.get(k) for k in COLUMNS}, **{k: row["figures"].get(k) for k in figures}}
        for row in found
    ]


def _rows(run: Path) -> Iterator[Row]:
    if any((run / name).exists() for name in (LOG, BEST, SUMMARY)):
        yield row_of(run)
    if (run / FOLDS / RESULT).is_file():
        said = _json(run / FOLDS / RESULT)
        yield {
            "run": f"{run / FOLDS}, {len(said['folds'])} folds",
            "recipe": said["recipe"],
            "data": Path(said["data"]).name,
            "minutes": round(sum(fold["minutes"] for fold in said["folds"]), 1),
            "figures": said["mean"],
        }


def row_of(run: Path) -> Row:
    """What one run says of itself; ``figures`` by name, of its best epoch."""
    said = _json(run / SUMMARY) if (run / SUMMARY).is_file() else _from_checkpoint(run)
    config = read_toml(run / CONFIG) if (run / CONFIG).is_file() else {}
    epochs = read_log(run)
    peak = said.get("peak_megabytes")
    if isinstance(peak, (int, float)):  # before both were told apart
        peak = {"ram" if said.get("device") == "cpu" else "gpu": peak}
    best = said.get("best_epoch")
    minutes = said.get("minutes")
    return {
        "run": str(run),
        "recipe": said.get("recipe") or config.get("recipe"),
        "data": Path(config["data"]).name if "data" in config else said.get("data"),
        "parameters": said.get("parameters"),
        "trainable": said.get("trainable"),
        "best epoch": None if best is None else best + 1,
        "epochs": max(len(epochs), said.get("epochs") or 0) or None,
        "minutes": None if minutes is None else round(minutes, 1),
        **{f"{kind.upper()} MB": round(value) for kind, value in (peak or {}).items()},
        "device": said.get("device"),
        "figures": said.get("figures") or {},
    }


def _from_checkpoint(run: Path) -> dict[str, Any]:
    """As much of a summary as the checkpoints of a run without one hold."""
    found: dict[str, Any] = {}
    if (run / BEST).is_file():
        saved = load(run / BEST)
        found = {
            "recipe": saved["recipe"],
            "best_epoch": saved.get("epoch"),
            "figures": saved.get("figures"),
            "data": dataset_of(saved).get("name"),
        }
    if (run / LAST).is_file():
        saved = load(run / LAST)
        found["recipe"] = saved["recipe"]
        found["peak_megabytes"] = saved.get("peak")
        if "seconds" in saved:
            found["minutes"] = saved["seconds"] / 60
    return found


def read_log(run: Path) -> list[dict[str, float]]:
    """A row for each epoch of a run that is whole in its log; none without a log."""
    if not (run / LOG).is_file():
        return []
    with (run / LOG).open(newline="", encoding="utf-8") as file:
        try:
            return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
        except (ValueError, TypeError) as error:
            raise RunError(f"{run / LOG} is no log of a run: {error}") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise RunError(f"{path} is no summary of a run")
    return found


def cells(found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The table as text, its head first; columns that no row has anything for are left out."""
    shown = [name for name in found[0] if any(row[name] is not None for row in found)]
    return [shown, *([_cell(name, row[name]) for name in shown] for row in found)]


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.1f}" if name == "minutes" else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table for a terminal."""
    return aligned(cells(found))


def write(found: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the table as Markdown, CSV or JSON, by the name's ending.

    Raises `OptionError` for another ending, `OutputError` where the disk refuses.
    """
    if path.suffix not in SUFFIXES:
        raise OptionError(f"--output {path}: expected a name that ends in {', '.join(SUFFIXES)}")
    if path.suffix == ".json":
        text = encode_json(found).decode()
    elif path.suffix == ".csv":
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, fieldnames=list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
        text = out.getvalue()
    else:
        head, *body = cells(found)
        ruled = [head, ["---"] * len(head), *body]
        text = "".join(
            f"| {' | '.join(c.replace('|', chr(92) + '|') for c in r)} |\n" for r in ruled
        )
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())


def draw(run: Path, path: Path) -> None:
    """Draw the training curves of a run as a PNG: losses, and the figures that are shares.

    Raises `RunError` for a run without a log, `OutputError` where the disk refuses.
    """
    from matplotlib.figure import Figure

    epochs = read_log(run)
    if not epochs:
        raise RunError(f"{run} has no {LOG}: nothing to draw")
    numbers = [row["epoch"] + 1 for row in epochs]
    names = list(dict.fromkeys(name for row in epochs for name in row))
    losses = [name for name in ("loss", "valid_loss") if name in names]
    figures = [n for n in names if n not in (*_NO_FIGURES, "valid_loss")]
    page = Figure(figsize=(10.0, 4.0), layout="constrained")
    page.suptitle(str(run))
    left, right = page.subplots(1, 2)
    for axis, shown, title in ((left, losses, "loss"), (right, figures, "split valid")):
        for name in shown:
            values = [row.get(name, float("nan")) for row in epochs]
            label = {"loss": "training", "valid_loss": "validation"}.get(name, name)
            axis.plot(numbers, values, marker="." if len(numbers) < 40 else "", label=label)
        axis.set(xlabel="epoch", title=title)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        if shown:
            axis.legend()
    best = row_of(run)["best epoch"]
    if best is not None:
        right.axvline(best, color="grey", linestyle=":", label="best")
        right.legend()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        page.savefig(path, dpi=120)
