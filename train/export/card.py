"""The texts of a bundle, `CARD.md` and `LICENSE`, put together from parts that all kinds of bundles share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from affectstream.engines.manifest import Manifest
from affectstream.train.files import without_folder

if TYPE_CHECKING:
    from affectstream.train.calibration import Calibrated
    from affectstream.train.fit.checkpoint import Trained
    from affectstream.train.model_spec import DataSource

CC_BY_NC_SA = """\
Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International (CC BY-NC-SA 4.0),
https://creativecommons.org/licenses/by-nc-sa/4.0/, for research and other non-commercial use"""

USE = """\
## Use
See `LICENSE`. Scores are a network's reading of expressions, not knowledge of what a person feels. Using
emotion recognition on people at work, in education or in recruitment is prohibited in the European Union
(AI Act, Article 5(1)(f)), save for medical and safety reasons."""

MEASURED_ON_VALID = """\
Through the ONNX files in this folder, on the split that also chose the epoch, the temperature and the
threshold: the values are slightly optimistic. `part` names the modalities that were present; the others were
hidden."""


def write_texts(folder: Path, card: Iterable[str], licence: Iterable[str]) -> None:
    """Write `CARD.md` and `LICENSE` into a bundle's `folder`, from sections without blank lines around
    them."""
    for name, sections in (("CARD.md", card), ("LICENSE", licence)):
        text = "\n\n".join(section for section in sections if section) + "\n"
        (folder / name).write_text(text, encoding="utf-8")


def table(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def title(manifest: Manifest, *more: str) -> str:
    """Name, summary, labels and window; `more` follows the window."""
    labels = f" Labels: {', '.join(manifest.labels)}." if manifest.labels else ""
    window = f"Window {manifest.window_us / 1e6} s, hop {manifest.hop_us / 1e6} s"
    return (
        f"# Card of the bundle `{manifest.name}` {manifest.version}\n\n{manifest.summary}{labels}\n"
        f"{'; '.join([window, *more])}."
    )


def training(trained: Trained, network: str, unused: Collection[str]) -> str:
    """Recipe, best epoch and settings of a run; `network` describes what was trained."""
    settings = ", ".join(
        f"{name} {portable(value)}" for name, value in trained.config.items() if name not in unused
    )
    monitor = trained.config.get("monitor") or next(iter(trained.metrics))
    return (
        f"## Training\nRecipe `{trained.recipe.name}`, {network}. Best epoch {trained.epoch} (the first is "
        f"0) by {monitor} on split valid. Settings:\n{settings}."
    )


def portable(value: object) -> str:
    """A setting in words, without paths of this machine."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {portable(inner)}" for name, inner in value.items()) + "}"
    return without_folder(value) if isinstance(value, str) else str(value)


def training_data(data: DataSource) -> str:
    """The data set, its licence and hashes, and whether participants are in several splits."""
    people = "No participant that the data names is in two splits."
    if data.shared_participants:
        shared = f"{data.shared_participants} participants are in several splits"
        people = f"{shared}: the results say nothing about new people."
    elif data.participants == 0:
        people = "The data names no participants: the same people may be in several splits."
    return (
        f"Data: `{data.name}` ({data.source}; licence: {data.licence}), content {data.content_sha256[:12]}, "
        f"split {data.split_sha256[:12]}.\n{people}"
    )


def measured(manifest: Manifest, note: str, by_class: Iterable[str] | None = None) -> str:
    """The results in the manifest, and a table by class."""
    rows = ((r.part, r.data, r.metric, r.value, r.count) for r in manifest.results)
    found = f"## Measured\n{note}\n\n{table(('part', 'data', 'metric', 'value', 'n'), rows)}"
    if by_class is None:
        return found
    return f"{found}\n\n```\n{chr(10).join(by_class) or 'no classes'}\n```"


def calibration(calibrated: Mapping[str, Calibrated]) -> str:
    """Temperature, threshold and accuracy of each set of modalities."""
    header = ("modalities", "temperature", "min confidence", "ECE", "accuracy")
    rows = []
    for name, c in calibrated.items():
        shares = (f"{value:.3f}" for value in (c.ece, c.accuracy, c.covered_accuracy))
        rows.append((name, c.temperature, c.min_confidence, *shares))
    return table((*header, "accuracy of what is let through"), rows)


def licence(name: str, *sections: str) -> list[str]:
    """The sections of a `LICENSE`."""
    heading = f'Weights of the Affectstream bundle "{name}"'
    return [
        f"{heading}\n{'=' * len(heading)}",
        *sections,
        "The code of Affectstream is under the MIT licence.",
    ]
