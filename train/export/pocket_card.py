"""The pocket bundle's model card and licence, with its measured figures filled in."""

from __future__ import annotations

from pathlib import Path

from affectstream.engines.manifest import Manifest
from affectstream.train.calibration import COVERAGE, Calibrated
from affectstream.train.export.card_parts import calibration_rows, measured

LICENCE = """\
Weights of the Affectstream bundle "pocket"
===========================================

The weights in this folder (every .onnx file and tokenizer.json) are licensed under
Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International (CC BY-NC-SA 4.0),
https://creativecommons.org/licenses/by-nc-sa/4.0/, for research and other non-commercial use,
because the data that they were trained on is:

- FER2013 (Goodfellow et al., 2013): research use.
- RAVDESS (Livingstone and Russo, 2018): CC BY-NC-SA 4.0.
- EMO-DB (Burkhardt et al., 2005): free for research.
- MELD (Poria et al., 2019): repository GPL-3.0; transcripts of a television series.
- Photographs of faces in context, with YuNet (libfacedetection, BSD-3-Clause/MIT) as teacher of the
  face detector. No weights of YuNet are included.

The code of Affectstream is under the MIT licence (LICENSE in the root of the project).
"""

_HEAD = """\
# Card of the bundle `pocket` {version}

{summary} Labels: {labels}. Languages of the text encoder: {languages}.
Window {window} s, hop {hop} s, {hz} frames a second.

## Use
Research and other non-commercial use (see `LICENSE`). Scores are a network's reading of expressions,
not knowledge of what a person feels. Using emotion recognition on people at work, in education or in
recruitment is prohibited in the European Union (AI Act, Article 5(1)(f)), save for medical and safety
reasons.

## Parts
| part | file | bytes | how it was trained |
|---|---|---|---|
| face detector | face_detector.onnx | {face_detector} | faces in context, dense distillation from YuNet |
| face encoder | face_encoder.onnx | {face_encoder} | FER2013 Training, 48x48 grey |
| voice encoder | voice_encoder.onnx | {voice_encoder} | RAVDESS actors 1-16 (calm as neutral), EMO-DB |
| text encoder | text_encoder.onnx | {text_encoder} | MELD train, one utterance at a time |
| fusion head | fusion.onnx | {fusion} | 24 gains and biases, label-paired held-out samples |

The voice encoder is run afresh each hop over its whole window; frames and utterances are encoded once.

## Measured
Through the ONNX files in this folder, each encoder by its own classifier.

| part | data | metric | value | n |
|---|---|---|---|---|
{results}

Epochs were chosen on the same FER2013, RAVDESS and MELD splits, so these figures are slightly
optimistic; the detector's input size (384) and threshold (0.45) were chosen on the clips named above, which
it was not trained on. FER2013 PrivateTest, RAVDESS actors 21-24 and MELD test were never looked at.

FER2013's pictures come with equalized histograms, faces on video do not: crops are equalized before the
encoder sees them, here those of FER2013 too, a second time.

## Fusion and calibration
There is no paired audio and video in this data. The head is fitted and calibrated on *label-paired*
samples: a label is drawn, then a face (FER2013 PublicTest), a voice (RAVDESS actors 17-20) and an
utterance (MELD dev) that carry it. That makes the modalities independent given the label, which real
recordings are not: **fused figures below are not accuracies on real conversations.** The priors of the
training sets are taken off, and the assumed prior in use is {prior}.
Below `min_confidence` a reading abstains; it was set to let {coverage:.0%} of held-out samples through.

| modalities | temperature | min confidence | ECE | accuracy | accuracy of what is let through |
|---|---|---|---|---|---|
{calibration}

## Reproduce
```
{commands}
```
Seed 0 throughout. DATA holds `fer2013.zip`, `ravdess/`, `emodb/`, `meld/`, `faces_in_context.zip`,
`models/yunet_n_dynamic.onnx`.

## Limits
FER2013 is noisy (people agree with its labels 65 % of the time), posed and mostly young and light-skinned;
RAVDESS and EMO-DB are acted by 34 people; MELD is one television series. Disgust and fear are the weakest
classes everywhere. Faces under about 16 pixels between the eyes, or turned past 45 degrees, are masked.
"""


def write(manifest: Manifest, calibrated: dict[str, Calibrated], folder: Path) -> str:
    """The text of `CARD.md` for the bundle in `folder`."""
    roles = ("face_detector", "face_encoder", "voice_encoder", "text_encoder", "fusion")
    sizes = {role: f"{(folder / f'{role}.onnx').stat().st_size:,}" for role in roles}
    prior = zip(manifest.labels, manifest.calibration.prior, strict=True)
    parts = ("detector", "face", "voice", "text", "fusion")
    commands = [f"affectstream train fit --recipe pocket_{part} --data DATA" for part in parts]
    return _HEAD.format(
        version=manifest.version,
        summary=manifest.summary,
        labels=", ".join(manifest.labels),
        languages=", ".join(manifest.languages),
        window=manifest.window_us / 1e6,
        hop=manifest.hop_us / 1e6,
        hz=manifest.frame_hz,
        results=measured(manifest),
        prior=", ".join(f"{label} {p:g}" for label, p in prior),
        coverage=COVERAGE,
        calibration=calibration_rows(calibrated),
        commands="\n".join(
            [*commands, "affectstream train export --data DATA --output engines/pocket"]
        ),
        **sizes,
    )
