"""What the cards of all bundles say alike, and the rows of their tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from affectstream.engines.manifest import Manifest
from affectstream.train.calibration import Calibrated
from affectstream.train.fit.warm_start import without_folder
from affectstream.train.model_spec import Source

USE = """\
## Use
See `LICENSE`. Scores are a network's reading of expressions, not knowledge of what a person feels. Using
emotion recognition on people at work, in education or in recruitment is prohibited in the European Union
(AI Act, Article 5(1)(f)), save for medical and safety reasons.
"""

DATA = """\
Data: `{data}` ({source}; licence: {licence}), content {content}, split {split}.
{people}
"""
"""To be filled in with `facts_of`."""

MEASURED = """\
## Measured
Through the ONNX files in this folder, on the split that also chose the epoch, the temperature and the
threshold: slightly optimistic. `part` says which modalities were there; the others were hidden.

| part | data | metric | value | n |
|---|---|---|---|---|
{results}

```
{by_class}
```
"""


def facts_of(data: Source) -> dict[str, str]:
    """What `DATA` is filled in with."""
    return {
        "data": data.name,
        "source": data.source,
        "licence": data.licence,
        "content": data.content_sha256[:12],
        "split": data.split_sha256[:12],
        "people": _people(data),
    }


def _people(data: Source) -> str:
    if data.shared_participants:
        return (
            f"{data.shared_participants} participants are in several splits: figures say nothing of "
            "people never seen."
        )
    if data.participants == 0:
        return "The data names no participants: the same people may be in several splits."
    return "No participant that the data names is in two splits."


def settings_told(config: Mapping[str, Any], without: Collection[str]) -> str:
    """The settings of a run, `without` those that say nothing of its bundle."""
    return ", ".join(
        f"{name} {told(value)}" for name, value in config.items() if name not in without
    )


def told(value: object) -> str:
    """A setting in words, without places on this machine."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {told(inner)}" for name, inner in value.items()) + "}"
    return without_folder(value) if isinstance(value, str) else str(value)


def measured(manifest: Manifest) -> str:
    """Rows of the table of measured figures: part, data, metric, value, count."""
    return "\n".join(
        f"| {r.part} | {r.data} | {r.metric} | {r.value} | {r.count} |" for r in manifest.results
    )


def calibration_rows(calibrated: Mapping[str, Calibrated]) -> str:
    """Rows of the card's table: modalities, temperature, threshold, ECE and both accuracies."""
    return "\n".join(
        f"| {name} | {c.temperature} | {c.min_confidence} | {c.ece:.3f} | {c.accuracy:.3f} | "
        f"{c.covered_accuracy:.3f} |"
        for name, c in calibrated.items()
    )
