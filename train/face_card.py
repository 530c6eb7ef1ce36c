"""Card and licence of a bundle that was made of one face recipe."""

from __future__ import annotations

from affectstream.engines.manifest import Manifest
from affectstream.train.calibrate import COVERAGE, Calibrated
from affectstream.train.card import measured
from affectstream.train.face import FaceSetting
from affectstream.train.loop import Trained

_LICENCE = """\
Weights of the Affectstream bundle "{name}"
===========================================

face_encoder.onnx and fusion.onnx were trained on: {source}
Licence of that data: {licence}
Use these weights only as it allows.

face_detector.onnx is that of the bundle "pocket", under Creative Commons
Attribution-NonCommercial-ShareAlike 4.0 International (CC BY-NC-SA 4.0),
https://creativecommons.org/licenses/by-nc-sa/4.0/, for research and other non-commercial use.

The code of Affectstream is under the MIT licence.
"""

_CARD = """\
# Card of the bundle `{name}` {version}

{summary} Labels: {labels}.
Window {window} s, hop {hop} s, {hz} frames a second; crops of {size} pixels{grey}.

## Use
See `LICENSE`. Scores are a network's reading of expressions, not knowledge of what a person feels. Using
emotion recognition on people at work, in education or in recruitment is prohibited in the European Union
(AI Act, Article 5(1)(f)), save for medical and safety reasons.

## Training
Recipe `{name}`, {parameters:,} parameters, from random weights. Best epoch {epoch} (the first is 0)
by accuracy on split valid. Options:
{config}.

Data: `{data}` ({source}; licence: {licence}), content {content}, split {split}.
{people}

| label | training samples | assumed in use |
|---|---|---|
{counts}

## Measured
Through the ONNX files in this folder, on the split that also chose the epoch, the temperature and the
threshold: slightly optimistic. Whole samples, by the mean of their embeddings.

| part | data | metric | value | n |
|---|---|---|---|---|
{results}

## Fusion and calibration
The head is the recipe's own linear layer on the mean embedding of the frames in view{prior}.
Temperature {temperature}; readings below {threshold} abstain, which lets {coverage:.0%} of split valid
through. Of those {covered:.1%} are right; the expected calibration error is {ece:.3f}.

## Limits
It knows what its data shows and nothing else. The face detector is that of `pocket`, with its limits.
Figures on still crops say little of talking faces.
"""


def write(
    manifest: Manifest, trained: Trained, fixed: FaceSetting, calibrated: Calibrated
) -> dict[str, str]:
    """The texts of `CARD.md` and `LICENSE` by file name."""
    rows = zip(fixed.labels, fixed.counts, manifest.calibration.prior, strict=True)
    card = _CARD.format(
        name=manifest.name,
        version=manifest.version,
        summary=manifest.summary,
        labels=", ".join(manifest.labels),
        window=manifest.window_us / 1e6,
        hop=manifest.hop_us / 1e6,
        hz=manifest.frame_hz,
        size=fixed.size,
        grey=", colour taken off (the training data had none)" if fixed.grey else "",
        parameters=sum(p.numel() for p in trained.module.parameters()),
        epoch=trained.epoch,
        config=", ".join(f"{k} {v}" for k, v in trained.config.items() if k != "runs"),
        data=fixed.data,
        source=fixed.source,
        licence=fixed.licence,
        content=fixed.content_sha256[:12],
        split=fixed.split_sha256[:12],
        people=(
            f"{fixed.shared_participants} participants are in several splits: figures say nothing of "
            "people never seen."
            if fixed.shared_participants
            else "No participant that the data names is in two splits."
        ),
        counts="\n".join(f"| {name} | {count} | {prior:g} |" for name, count, prior in rows),
        results=measured(manifest),
        prior="" if fixed.class_weights else ", with the training set's prior taken off",
        temperature=calibrated.temperature,
        threshold=calibrated.min_confidence,
        coverage=COVERAGE,
        covered=calibrated.covered_accuracy,
        ece=calibrated.ece,
    )
    licence = _LICENCE.format(name=manifest.name, source=fixed.source, licence=fixed.licence)
    return {"CARD.md": card, "LICENSE": licence}
