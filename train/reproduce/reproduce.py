"""Runs a protocol: trains each network, fuses exported ones, and measures all on one split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

from affectstream.engines.bundle.folder import MANIFEST
from affectstream.stream.errors import OptionError
from affectstream.stream.sinks.base import writing
from affectstream.train.config import SETTINGS, FitConfig
from affectstream.train.data.dataset import DatasetInfo, read_info
from affectstream.train.errors import DataError, RunError, WeightsMissing
from affectstream.train.export.net_bundle import assemble
from affectstream.train.files import encode_json, write_atomically
from affectstream.train.fit.checkpoint import (
    BEST,
    LAST,
    SUMMARY,
    dataset_of,
    load,
    load_run,
    read_summary,
)
from affectstream.train.fit.loggers import Report, print_line
from affectstream.train.fit.loop import fit
from affectstream.train.fit.resume import flag_differences
from affectstream.train.metrics import metric_title
from affectstream.train.predict.predictions import Predictor
from affectstream.train.recipe import Recipe
from affectstream.train.recipes.net_recipe import NetRecipe
from affectstream.train.reproduce.protocols import Protocol, Step
from affectstream.train.statistics import Interval

RESULT = "reproduce.json"
SHOWN = ("accuracy", "weighted_f1", "uar", "balanced_accuracy")


class Request(Interface):
    """What a command line asks for, of one recipe."""

    @property
    def recipe(self) -> Recipe:
        """The recipe."""

    @property
    def config(self) -> FitConfig:
        """All settings."""


@dataclass(frozen=True, slots=True)
class Row:
    """One network, ours beside the source's."""

    recipe: str
    reported: str
    note: str
    split: str
    samples: int
    metrics: dict[str, Interval]
    """Empty if it could not be run."""
    reason: str
    """Why it could not be run; else empty."""
    weights: dict[str, str]
    epochs: int
    changed: dict[str, str]
    """Settings that are not the recipe's own, which are the source's."""


def reproduce(
    protocol: Protocol,
    data: Path,
    folder: Path,
    request: Callable[[str, str, Sequence[str]], Request],
    *,
    report: Report = print_line,
) -> list[Row]:
    """Run each step in `folder`. A step that the data, or weights that are not here, do not allow is a row
    with the reason. `request` makes the settings of a recipe from its name, the folder of its runs and its
    members. Raises `DataError` for data without labels of the protocol's task, `OptionError` for a finished
    run on other data or with other settings, and what training raises.
    """
    info = read_info(data)
    if not info.tasks.get(protocol.task):
        labels = ", ".join(f"{count} of {task}" for task, count in info.tasks.items() if count)
        raise DataError(
            f"{protocol.name} ({protocol.title}) cannot be run on {data}: no sample of {info.name!r} has a "
            f"label of {protocol.task}; it has {labels or 'no labels'}. The source's data: {protocol.data}"
            f"{protocol.obtain}"
        )
    split = "test" if "test" in info.splits else "valid"
    found = []
    for step in protocol.steps:
        report(f"{protocol.name}: {step.recipe}")
        try:
            found.append(_run(step, data, split, folder, request, report))
        except (DataError, WeightsMissing, RunError) as error:
            report(f"{step.recipe} cannot be run: {error}")
            found.append(
                Row(step.recipe, step.reported, step.note, split, 0, {}, str(error), {}, 0, {})
            )
    content = {
        "source": protocol.name,
        "data": info.name,
        "complete": all(row.metrics for row in found),
        "rows": found,
    }
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)  # no network left a run there
    write_atomically(folder / RESULT, encode_json(content))
    return found


def _run(
    step: Step,
    data: Path,
    split: str,
    folder: Path,
    request: Callable[[str, str, Sequence[str]], Request],
    report: Report,
) -> Row:
    members = [str(_bundle(member, data, folder, request, report)) for member in step.members]
    asked, run = request(step.recipe, str(folder), members), folder / step.recipe
    if (run / SUMMARY).is_file():
        _check_same(run, asked.config, data)
    else:
        fit(asked.recipe, asked.config, data, run, resume=(run / LAST).exists(), report=report)
    trained = load_run(asked.recipe, run)
    if not isinstance(trained.recipe, Predictor):
        raise RunError(f"{step.recipe} cannot predict sample by sample")
    config = FitConfig(**trained.config)
    predictions = trained.recipe.predict(trained.module, data, split, config)
    summary: Mapping[str, Any] = read_summary(run)
    return Row(
        *(step.recipe, step.reported, step.note, split, len(predictions.ids)),
        predictions.intervals(),
        "",
        dict(config.weights),
        summary["epochs"],
        _changed(asked.recipe, config),
    )


def _check_same(run: Path, config: FitConfig, data: Path) -> None:
    """Raise `OptionError` if a finished run was trained on other data, or in another way."""
    saved = load(run / BEST)
    # Where runs and members lie does not matter.
    before = {k: v for k, v in saved["config"].items() if k not in ("members", "runs")}
    other = [*flag_differences(before, asdict(config), {}, {}, ("result", "length"))]
    content = dataset_of(saved).get("content_sha256")
    if content is not None and content != read_info(data).content_sha256:
        other.insert(0, f"data set {dataset_of(saved).get('name')}, now {data}")
    if other:
        raise OptionError(
            f"{run} is finished, and was trained otherwise: {'; '.join(other)}. Ask for the same, give "
            "another --runs, or remove that folder"
        )


def _changed(recipe: Recipe, config: FitConfig) -> dict[str, str]:
    """The settings of a run that lead to another result than the recipe's own."""
    apart = ("tasks", "members", "weights", "runs")
    return {
        name: f"{getattr(config, name)} instead of {getattr(recipe.defaults, name)}"
        for name, setting in SETTINGS.items()
        if name not in apart
        and setting.effect != "speed"
        and getattr(config, name) != getattr(recipe.defaults, name)
    }


def _bundle(
    member: str,
    data: Path,
    folder: Path,
    request: Callable[[str, str, Sequence[str]], Request],
    report: Report,
) -> Path:
    """The bundle of an earlier step."""
    output = folder / f"{member}_bundle"
    recipe = request(member, str(folder), ()).recipe
    if not (folder / member / SUMMARY).is_file():
        raise RunError(f"its member {member} could not be run")
    made = output / MANIFEST
    trained = (folder / member / SUMMARY).stat().st_mtime_ns
    if not made.is_file() or made.stat().st_mtime_ns < trained:
        assert isinstance(recipe, NetRecipe)
        assemble(recipe, data, folder, output, weights=False, report=report)
    return output


def rows(found: Sequence[Row]) -> list[list[str]]:
    """A table with its header: ours with intervals, beside the source's in per cent."""
    shown = [name for name in SHOWN if any(name in row.metrics for row in found)]
    return [
        ["network", *(metric_title(name) for name in shown), "source, %"],
        *(
            [
                row.recipe,
                *(_percent(row.metrics.get(name)) for name in shown),
                f"{row.reported or '-'}{f' ({row.note})' if row.note else ''}",
            ]
            for row in found
        ),
    ]


def _percent(value: Interval | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value.value:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def differences(protocol: Protocol, data: Path, found: Sequence[Row]) -> list[str]:
    """In what this is not what the source did."""
    info = read_info(data)
    ran = sum(bool(row.metrics) for row in found)
    out = [
        f"{ran} of {len(found)} networks of {protocol.name} ran"
        + ("" if ran == len(found) else ": this is a part of the protocol"),
        f"ours: {info.name} ({info.source}), split {found[0].split}; {_modalities(info)}",
        f"the source: {protocol.data}",
    ]
    if "paired" in str(info.source).lower() or "paired" in info.name.lower():
        out.append(
            "face, voice and words of a sample were paired by label: they are of different people"
        )
    for row in found:
        if row.reason:
            out.append(f"{row.recipe}: not run: {row.reason}")
            continue
        weights = ", ".join(f"{part} {source}" for part, source in row.weights.items())
        out.append(
            f"{row.recipe}: {row.samples} samples, {row.epochs} epoch(s) trained"
            + (f"; weights: {weights}" if weights else "")
            + "".join(f"; {name} {value}" for name, value in row.changed.items())
        )
    return out


def _modalities(info: DatasetInfo) -> str:
    have = [f"{name} {count}" for name, count in info.modalities.items() if count]
    return f"samples with {', '.join(have)}; {info.participants} people"
