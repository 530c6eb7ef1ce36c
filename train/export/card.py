"""Card and licence of a bundle that was made of one recipe's run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from affectstream.engines.manifest import Manifest
from affectstream.train.calibration import COVERAGE, Calibrated
from affectstream.train.export.card_parts import (
    DATA,
    MEASURED,
    USE,
    calibration_rows,
    facts_of,
    measured,
    settings_told,
    told,
)
from affectstream.train.fit.checkpoint import Trained
from affectstream.train.model_spec import ModelSpec
from affectstream.train.networks.pretrained import NONE

_LICENCE = """\
Weights of the Affectstream bundle "{name}"
===========================================

The engines of this bundle were trained on: {source}
Licence of that data: {licence}
Use these weights only as it allows.
{started}{detector}
The code of Affectstream is under the MIT licence.
"""

_DETECTOR = """
face_detector.onnx is that of the bundle "pocket", under Creative Commons
Attribution-NonCommercial-ShareAlike 4.0 International (CC BY-NC-SA 4.0),
https://creativecommons.org/licenses/by-nc-sa/4.0/, for research and other non-commercial use.
"""

_STARTED = """
They started from weights that others trained, whose licences hold too: {weights}.
"""

_CARD = (
    """\
# Card of the bundle `{name}` {version}

{summary} Tells {tasks}.{labels}
Window {window} s, hop {hop} s{shown}.

"""
    + USE
    + """\

## Training
Recipe `{name}`, {parameters:,} parameters, from {weights}. Best epoch {epoch} (the first is 0) by
{figure} on split valid. Options:
{config}.

"""
    + DATA
    + """\
{counts}
"""
    + MEASURED
    + """\

## Calibration
{calibration}

## Limits
It knows what its data shows and nothing else.{detector}
"""
)

_CALIBRATION = """\
Readings under the minimum confidence abstain; it lets {coverage:.0%} of split valid through.{prior}

| modalities | temperature | min confidence | ECE | accuracy | accuracy of what is let through |
|---|---|---|---|---|---|
{rows}"""


def licence_of_weights(fixed: ModelSpec) -> str:
    """What a manifest says of the licence of the weights."""
    own = "as the licence of the data allows"
    if fixed.crop in ("face", "person"):
        own = f"face_detector.onnx CC-BY-NC-SA-4.0; the others {own}"
    sources = _sources(fixed)
    return f"{own}, and those of {sources}" if sources else own


def write(
    manifest: Manifest,
    trained: Trained,
    fixed: ModelSpec,
    calibrated: Mapping[str, Calibrated],
    by_class: Sequence[str],
) -> dict[str, str]:
    """The texts of `CARD.md` and `LICENSE` by file name."""
    detector, sources, data = fixed.crop in ("face", "person"), _sources(fixed), fixed.data
    card = _CARD.format(
        name=manifest.name,
        version=manifest.version,
        summary=manifest.summary,
        tasks=", ".join(task.name for task in fixed.tasks),
        labels=f" Labels: {', '.join(manifest.labels)}." if manifest.labels else "",
        window=manifest.window_us / 1e6,
        hop=manifest.hop_us / 1e6,
        shown=_shown(manifest, fixed),
        parameters=sum(p.numel() for p in trained.module.parameters()),
        weights=_start(trained, sources),
        epoch=trained.epoch,
        figure=next(iter(trained.metrics)),
        config=settings_told(trained.config, ("runs",)),
        **facts_of(data),
        counts=_counts(manifest, fixed),
        results=measured(manifest),
        by_class="\n".join(by_class) or "no classes",
        calibration=_calibration(fixed, calibrated),
        detector=" The face detector is that of `pocket`, with its limits." if detector else "",
    )
    licence = _LICENCE.format(
        name=manifest.name,
        source=data.source,
        licence=data.licence,
        started=_STARTED.format(weights=sources) if sources else "",
        detector=_DETECTOR if detector else "",
    )
    return {"CARD.md": card, "LICENSE": licence}


def _sources(fixed: ModelSpec) -> str:
    return ", ".join(sorted({told(name) for name in fixed.weights.values() if name != NONE}))


def _start(trained: Trained, sources: str) -> str:
    if start := trained.config.get("init"):
        return f"the weights of `{Path(start).name}`"
    return sources or "random weights"


def _shown(manifest: Manifest, fixed: ModelSpec) -> str:
    view, parts = fixed.view, []
    if "video" in view.modalities:
        grey = ", colour taken off (the training data had none)" if fixed.grey else ""
        tone = ", equalized as the training data was" if view.tone == "equalized" else ""
        parts.append(
            f"{manifest.frame_hz} frames a second; {fixed.crop} crops of {view.size} pixels{grey}{tone}"
        )
    if "text" in view.modalities:
        before = f", with {view.context} utterances before it" if view.context else ""
        parts.append(f"one utterance of up to {view.tokens} tokens{before}")
    if view.metadata:
        parts.append(f"what is known of the speakers: {', '.join(view.metadata)}")
    return "".join(f"; {part}" for part in parts)


def _counts(manifest: Manifest, fixed: ModelSpec) -> str:
    """Tables of the training samples of each class."""
    assumed = dict(zip(manifest.labels, manifest.calibration.prior, strict=True))
    tables = ["\n"]
    for task in fixed.tasks:
        if not task.counts:
            continue
        labels = task.labels or (f"{task.name} under 0.5", f"{task.name} of 0.5 and more")
        tables.append("| label | training samples | assumed in use |\n|---|---|---|\n")
        for label, count in zip(labels, task.counts, strict=True):
            use = f"{assumed[label]:g}" if task.name == "emotion" else "as in training"
            tables.append(f"| {label} | {count} | {use} |\n")
        tables.append("\n")
    return "".join(tables)


def _calibration(fixed: ModelSpec, calibrated: Mapping[str, Calibrated]) -> str:
    if not calibrated:
        return "None: it tells no emotions by probability."
    off = " The training set's prior is taken off the head."
    return _CALIBRATION.format(
        coverage=COVERAGE,
        prior="" if fixed.emphasis.class_weights else off,
        rows=calibration_rows(calibrated),
    )
