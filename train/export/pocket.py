"""From five runs to the bundle that ships: export, calibrate, measure, write the manifest and card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from affectstream.engines.bundle.bundle import MANIFEST, Bundle
from affectstream.engines.labels import EMOTIONS_7
from affectstream.engines.manifest import (
    FORMAT,
    Calibration,
    DetectorPart,
    Engines,
    FaceCrop,
    Licences,
    Manifest,
    Measured,
    TextPart,
    encode,
)
from affectstream.stream.faces.crop import TEMPLATE
from affectstream.train.calibration import Calibrated, calibrate
from affectstream.train.evaluate import pocket as evaluate
from affectstream.train.export import pocket_card as card
from affectstream.train.export.atomic_dir import placed
from affectstream.train.export.bundle import FRAME_HZ, HOP_US, WINDOW_US, file_part
from affectstream.train.fit.checkpoint import load_best
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

PARTS = ("pocket_detector", "pocket_face", "pocket_voice", "pocket_text", "pocket_fusion")
SUBSETS = tuple(
    tuple(m for i, m in enumerate(MODALITIES) if bits >> i & 1)
    for bits in range(1, 2 ** len(MODALITIES))
)


def assemble(data: Path, runs: Path, output: Path, report: Callable[[str], None] = print) -> None:
    """Write the bundle into `output`, replacing what was there once everything is checked.

    Raises `RunError` for a run that is missing and for an `output` that holds something else,
    `DataMissing` for absent data, `OutputError` where the disk refuses, `ParityError` when an exported
    graph differs from its module.
    """
    with placed(output) as folder:
        known = recipes()
        for name in PARTS:
            recipe = known[name]
            if name == RECIPE.name:
                continue
            module, figures = load_best(recipe, runs / name)
            recipe.export(module, folder)
            report(f"exported {name}: " + ", ".join(f"{k} {v:.4f}" for k, v in figures.items()))
        head, _ = load_best(RECIPE, runs / RECIPE.name)
        assert isinstance(head, PocketFusion)
        RECIPE.export(head, folder)
        calibrated = calibrate_head(head, data, runs)
        for subset, found in calibrated.items():
            report(f"calibrated {subset}: temperature {found.temperature}, ECE {found.ece:.3f}")
        manifest = _manifest(folder, calibrated, ())
        (folder / MANIFEST).write_bytes(encode(manifest))
        with Bundle.open(folder) as bundle:
            results = (
                *evaluate.evaluate_detector(bundle, data),
                *evaluate.evaluate_face(bundle, data),
                *evaluate.evaluate_voice(bundle, data),
                *evaluate.evaluate_text(bundle, data),
            )
        manifest = _manifest(folder, calibrated, results)
        (folder / MANIFEST).write_bytes(encode(manifest))
        (folder / "CARD.md").write_text(card.write(manifest, calibrated, folder))
        (folder / "LICENSE").write_text(card.LICENCE)
    for row in results:
        report(f"{row.part} {row.data} {row.metric} {row.value}")


@torch.no_grad()
def calibrate_head(head: PocketFusion, data: Path, runs: Path) -> dict[str, Calibrated]:
    """Temperature and threshold for each set of modalities, on the half that chose the head."""
    held, _ = held_out(data, runs)
    half = {name: part.of(1) for name, part in held.items()}
    picked, labels = pair(half, 20_000, PRIOR, np.random.default_rng(7))
    found = {}
    for subset in SUBSETS:
        present = {m: torch.full((len(labels),), m in subset) for m in MODALITIES}
        logits = head(*feeds(picked, present)).numpy().astype(np.float64)
        found["+".join(subset)] = calibrate(logits, labels, np.asarray(PRIOR))
    return found


def _manifest(
    folder: Path, calibrated: dict[str, Calibrated], results: tuple[Measured, ...]
) -> Manifest:
    detector, text = file_part(folder, "face_detector.onnx"), file_part(folder, "text_encoder.onnx")
    return Manifest(
        format=FORMAT,
        name="pocket",
        version="0.1.0",
        summary="Small embedded recognizer: one face at 48 pixels, three seconds of voice, one utterance.",
        labels=EMOTIONS_7,
        window_us=WINDOW_US,
        hop_us=HOP_US,
        frame_hz=FRAME_HZ,
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
        calibration=Calibration(
            prior=PRIOR,
            temperature={subset: c.temperature for subset, c in calibrated.items()},
            min_confidence={subset: c.min_confidence for subset, c in calibrated.items()},
        ),
        licences=Licences(
            code="MIT",
            data="FER2013 (research), RAVDESS (CC BY-NC-SA 4.0), EMO-DB (research), MELD (GPL-3.0)",
            weights="CC-BY-NC-SA-4.0, research and non-commercial use",
        ),
        results=results,
    )
