"""From five runs to the bundle that ships: export, calibrate, measure, write the manifest and the card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.labels import EMOTIONS_7
from affectstream.engines.manifest import (
    FORMAT,
    Calibration,
    DetectorPart,
    Engines,
    FaceCrop,
    Licenses,
    Manifest,
    Measurement,
    TextPart,
)
from affectstream.stream.faces.crop import TEMPLATE
from affectstream.train.calibration import COVERAGE, Calibrated, calibrate, manifest_calibration
from affectstream.train.evaluate import public_sets
from affectstream.train.export import card
from affectstream.train.export.steps import (
    Report,
    atomic_bundle,
    check_opens,
    file_part,
    write_manifest,
)
from affectstream.train.fit.checkpoint import load_best
from affectstream.train.predict.bundle_outputs import subsets
from affectstream.train.recipes.pocket.pocket_fusion import (
    MODALITIES,
    RECIPE,
    PocketFusion,
    feeds,
    held_out,
    pair,
)
from affectstream.train.recipes.registry import recipes

PRIOR = (0.35, 0.09, 0.06, 0.08, 0.22, 0.11, 0.09)
"""Assumed in use, in the order of `EMOTIONS_7`. People who talk are mostly neutral or friendly; FER2013
and MELD, averaged and rounded, are the only evidence we have. A bundle's manifest may say otherwise."""

ENCODERS = ("face_detector", "pocket_face", "pocket_voice", "pocket_text")


def assemble(data: Path, runs: Path, output: Path, report: Report = print) -> None:
    """Write the bundle into `output`, replacing an older one once everything is checked.

    Raises `RunError` for a run that is missing and for an `output` that holds something else,
    `DataMissing` for absent data, `OutputError` if the disk refuses, `ParityError` if an exported graph
    differs from its module.
    """
    known = recipes()
    with atomic_bundle(output) as folder:
        for name in ENCODERS:
            module, metrics = load_best(known[name], runs / name)
            known[name].export(module, folder)
            report(f"exported {name}: " + ", ".join(f"{k} {v:.4f}" for k, v in metrics.items()))
        head, _ = load_best(RECIPE, runs / RECIPE.name)
        assert isinstance(head, PocketFusion)
        RECIPE.export(head, folder)
        calibrated = calibrate_head(head, data, runs)
        for subset, found in calibrated.items():
            report(f"calibrated {subset}: temperature {found.temperature}, ECE {found.ece:.3f}")
        calibration = manifest_calibration(PRIOR, calibrated)
        write_manifest(folder, _manifest(folder, calibration, ()))
        with Bundle.open(folder) as bundle:
            results = (
                *public_sets.evaluate_detector(bundle, data),
                *public_sets.evaluate_face(bundle, data),
                *public_sets.evaluate_voice(bundle, data),
                *public_sets.evaluate_text(bundle, data),
            )
        manifest = _manifest(folder, calibration, results)
        write_manifest(folder, manifest)
        card.write_texts(folder, _card(manifest, calibrated, folder), _licence())
        check_opens(folder, manifest, report)


@torch.no_grad()
def calibrate_head(head: PocketFusion, data: Path, runs: Path) -> dict[str, Calibrated]:
    """Temperature and threshold for each set of modalities, on the half that chose the head's epoch."""
    held, _ = held_out(data, runs)
    half = {name: part.of(1) for name, part in held.items()}
    picked, labels = pair(half, 20_000, PRIOR, np.random.default_rng(7))
    found = {}
    for subset in subsets(MODALITIES):
        present = {m: torch.full((len(labels),), m in subset) for m in MODALITIES}
        logits = head(*feeds(picked, present)).numpy().astype(np.float64)
        found["+".join(subset)] = calibrate(logits, labels, np.asarray(PRIOR))
    return found


def _manifest(folder: Path, calibration: Calibration, results: tuple[Measurement, ...]) -> Manifest:
    detector, text = file_part(folder, "face_detector.onnx"), file_part(folder, "text_encoder.onnx")
    return Manifest(
        format=FORMAT,
        name="pocket",
        version="0.1.0",
        summary="Small embedded recognizer: one face at 48 pixels, three seconds of voice, one utterance.",
        labels=EMOTIONS_7,
        window_us=3_000_000,
        hop_us=500_000,
        frame_hz=8,
        engines=Engines(
            fusion=file_part(folder, "fusion.onnx"),
            face_detector=DetectorPart(
                detector.file, detector.sha256, input_size=384, threshold=0.45
            ),
            face_encoder=file_part(folder, "face_encoder.onnx"),
            voice_encoder=file_part(folder, "voice_encoder.onnx"),
            text_encoder=TextPart(text.file, text.sha256, file_part(folder, "tokenizer.json")),
        ),
        crop=FaceCrop(size=48, template=TEMPLATE, tone="equalized"),
        languages=("en",),
        calibration=calibration,
        licences=Licenses(
            code="MIT",
            data="FER2013 (research), RAVDESS (CC BY-NC-SA 4.0), EMO-DB (research), MELD (GPL-3.0)",
            weights="CC-BY-NC-SA-4.0, research and non-commercial use",
        ),
        results=results,
    )


def _licence() -> list[str]:
    return card.licence(
        "pocket",
        "The weights in this folder (every .onnx file and tokenizer.json) are licensed under\n"
        f"{card.CC_BY_NC_SA},\nbecause the data that they were trained on is:",
        """\
- FER2013 (Goodfellow et al., 2013): research use.
- RAVDESS (Livingstone and Russo, 2018): CC BY-NC-SA 4.0.
- EMO-DB (Burkhardt et al., 2005): free for research.
- MELD (Poria et al., 2019): repository GPL-3.0; transcripts of a television series.
- Photographs of faces in context, with YuNet (libfacedetection, BSD-3-Clause/MIT) as teacher of the
  face detector. No weights of YuNet are included.""",
    )


_PARTS = (
    ("face_detector", "faces in context, turned by any angle; boxes and landmarks by YuNet"),
    ("face_encoder", "FER2013 Training, 48x48 grey"),
    ("voice_encoder", "RAVDESS actors 1-16 (calm as neutral), EMO-DB"),
    ("text_encoder", "MELD train, one utterance at a time"),
    ("fusion", "24 gains and biases, label-paired held-out samples"),
)
_MEASURED = """\
Through the ONNX files in this folder, each encoder by its own classifier. Epochs were chosen on the
same FER2013, RAVDESS and MELD splits, so the values are slightly optimistic; the detector's input size
(384) and threshold (0.45) were chosen on the clips named below, which it was not trained on. FER2013
PrivateTest, RAVDESS actors 21-24 and MELD test were never used. FER2013's pictures have equalized
histograms and faces on video do not: crops are equalized before they are encoded, those of FER2013 a
second time."""
_FUSION = """\
## Fusion and calibration
There is no paired audio and video in this data. The head is fitted and calibrated on *label-paired*
samples: a label is drawn, then a face (FER2013 PublicTest), a voice (RAVDESS actors 17-20) and an
utterance (MELD dev) that carry it. That makes the modalities independent given the label, which real
recordings are not: **fused results below are not accuracies on real conversations.** The priors of the
training sets are taken off, and the assumed prior in use is {prior}. Readings under the minimum
confidence abstain; it lets {coverage:.0%} of held-out samples through."""
_REPRODUCE = """\
## Reproduce
```
{commands}
```
Seed 0 throughout. DATA holds `fer2013.zip`, `ravdess/`, `emodb/`, `meld/`, `faces_in_context.zip`,
`models/yunet_n_dynamic.onnx`."""
_LIMITS = """\
## Limits
FER2013 is noisy (people agree with its labels 65 % of the time), posed and mostly young and light-skinned;
RAVDESS and EMO-DB are acted by 34 people; MELD is one television series. Disgust and fear are the weakest
classes everywhere. Faces under about 16 pixels between the eyes, or turned past 45 degrees, are masked."""


def _card(manifest: Manifest, calibrated: dict[str, Calibrated], folder: Path) -> list[str]:
    sizes = {role: (folder / f"{role}.onnx").stat().st_size for role, _ in _PARTS}
    rows = ((role, f"{role}.onnx", f"{sizes[role]:,}", how) for role, how in _PARTS)
    prior = zip(manifest.labels, manifest.calibration.prior, strict=True)
    commands = [
        f"affectstream train fit --recipe {name} --data DATA" for name in (*ENCODERS, RECIPE.name)
    ]
    commands.append("affectstream train export --data DATA --output engines/pocket")
    return [
        card.title(
            manifest,
            f"{manifest.frame_hz} frames a second",
            f"languages of the text encoder: {', '.join(manifest.languages)}",
        ),
        card.USE,
        "This bundle is for research and other non-commercial use.",
        "## Parts\n" + card.table(("part", "file", "bytes", "how it was trained"), rows),
        "The voice encoder runs each hop over its whole window; frames and utterances are encoded once.",
        card.measured(manifest, _MEASURED),
        _FUSION.format(prior=", ".join(f"{label} {p:g}" for label, p in prior), coverage=COVERAGE),
        card.calibration(calibrated),
        _REPRODUCE.format(commands="\n".join(commands)),
        _LIMITS,
    ]
