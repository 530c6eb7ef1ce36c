"""From the run of one face recipe to a bundle: export, calibrate, measure, check, put in place."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from affectstream.engines.bundle import MANIFEST, POCKET, Bundle, read_manifest
from affectstream.engines.digest import sha256
from affectstream.engines.manifest import (
    FORMAT,
    Calibration,
    DetectorPart,
    Engines,
    FaceCrop,
    FilePart,
    Licences,
    Manifest,
    Measured,
    encode,
)
from affectstream.stream.sinks.base import writing
from affectstream.train import face_card
from affectstream.train.calibrate import Calibrated, calibrate
from affectstream.train.errors import RunError
from affectstream.train.evaluate_face import measure
from affectstream.train.export import to_onnx
from affectstream.train.face import FaceNet, FaceRecipe, FaceSetting, embed_all
from affectstream.train.loop import Trained, load_run
from affectstream.train.recipe import FitConfig, Loaders

WINDOW_US, HOP_US, FRAME_HZ = 3_000_000, 500_000, 8
STEPS = WINDOW_US * FRAME_HZ // 1_000_000
"""Frames in a window."""


def file_part(folder: Path, name: str) -> FilePart:
    """What a manifest says of the file `name` in the bundle's `folder`."""
    return FilePart(name, sha256(folder / name))


class MeanHead(nn.Module):
    """A recipe's own linear head on the mean of the frames in view, for a uniform prior."""

    def __init__(self, head: nn.Linear, prior: Tensor) -> None:
        """`prior` (C,) is what `head` learned to expect."""
        super().__init__()
        self.head = nn.Linear(head.in_features, head.out_features)
        with torch.no_grad():
            self.head.weight.copy_(head.weight)
            self.head.bias.copy_(head.bias - prior.log())

    def forward(self, video: Tensor, video_mask: Tensor) -> Tensor:
        """Embeddings (N, T, D) float32 under a mask (N, T) bool to logits (N, C).

        A mask that is all false gives zeros: nothing was seen, nothing is said.
        """
        weights = video_mask.to(video.dtype).unsqueeze(2)
        count = weights.sum(1)
        mean = (video * weights).sum(1) / count.clamp(min=1.0)
        return self.head(mean) * (count > 0).to(video.dtype)


def assemble(
    recipe: FaceRecipe,
    data: Path,
    runs: Path,
    output: Path,
    report: Callable[[str], None] = print,
) -> None:
    """Write the bundle of the run ``runs/<recipe>`` into `output`, once everything is checked.

    An older bundle there is replaced. Raises `RunError` for a run that is missing or was trained on
    other data than `data` holds, and for an `output` that holds something else; `DataMissing` or
    `DataError` for absent data, `OutputError` where the disk refuses, `ParityError` when an exported
    graph differs from its module.
    """
    output = output.absolute()
    if output.exists() and not (output / MANIFEST).is_file() and _occupied(output):
        raise RunError(f"{output} holds something that is no bundle: choose another folder")
    trained = load_run(recipe, runs / recipe.name)
    made, module = trained.recipe, trained.module
    assert isinstance(made, FaceRecipe) and isinstance(module, FaceNet)
    loaders = _same_data(made, data, FitConfig(**trained.config))
    beside = output.with_name(f".{output.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        with writing(output):
            beside.mkdir(parents=True)
            _fill(beside, trained, made, module, loaders, report)
            if output.exists():
                shutil.rmtree(output)
            beside.rename(output)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _occupied(output: Path) -> bool:
    return not output.is_dir() or any(output.iterdir())


def _same_data(made: FaceRecipe, data: Path, config: FitConfig) -> Loaders:
    """Batches of the data set that the run was trained on. Raises `RunError` for any other."""
    before, now = made.setting(), made.for_data(data, config).setting()
    if different := [name for name in now if now[name] != before[name]]:
        raise RunError(
            f"{data} is not what {made.name!r} was trained on ({', '.join(different)} differ): "
            "give the same data set"
        )
    return made.loaders(data, config)


def _fill(
    folder: Path,
    trained: Trained,
    made: FaceRecipe,
    module: FaceNet,
    loaders: Loaders,
    report: Callable[[str], None],
) -> None:
    """Write every file of the bundle, and check it by opening and measuring it."""
    fixed = made.fixed
    counts = np.asarray(fixed.counts, np.float64)
    prior = counts / counts.sum()
    # Class weights make every label count alike: the head then expects them alike already.
    learned = np.full(len(prior), 1 / len(prior)) if fixed.class_weights else prior
    head = MeanHead(module.head, torch.from_numpy(learned).float()).eval()
    made.export(module, folder)
    example = (
        torch.randn(2, STEPS, module.body.width),
        torch.arange(2 * STEPS).reshape(2, STEPS) < STEPS // 2,
    )
    to_onnx(
        head, example, folder / "fusion.onnx", inputs=["video", "video_mask"], outputs=["logits"]
    )
    detector = read_manifest(POCKET).engines.face_detector
    assert detector is not None
    shutil.copyfile(POCKET / detector.file, folder / detector.file)
    means, labels = embed_all(module, loaders.valid)
    with torch.no_grad():
        logits = head.head(means).double().numpy()
    calibrated = calibrate(logits, labels.numpy(), prior)
    report(
        f"calibrated: temperature {calibrated.temperature}, threshold "
        f"{calibrated.min_confidence}, ECE {calibrated.ece:.3f}"
    )
    manifest = _manifest(folder, made, prior, detector, calibrated, ())
    (folder / MANIFEST).write_bytes(encode(manifest))
    with Bundle.open(folder) as bundle:
        results = measure(bundle, loaders.valid, f"{fixed.data} valid")
    manifest = _manifest(folder, made, prior, detector, calibrated, results)
    (folder / MANIFEST).write_bytes(encode(manifest))
    for name, text in face_card.write(manifest, trained, fixed, calibrated).items():
        (folder / name).write_text(text)
    with Bundle.open(folder):
        pass
    for row in results:
        report(f"{row.part} {row.data} {row.metric} {row.value}")


def _manifest(
    folder: Path,
    made: FaceRecipe,
    prior: NDArray[np.float64],
    detector: DetectorPart,
    calibrated: Calibrated,
    results: tuple[Measured, ...],
) -> Manifest:
    fixed: FaceSetting = made.fixed
    return Manifest(
        format=FORMAT,
        name=made.name,
        version="0.1.0",
        summary=f"One face at {fixed.size} pixels by the recipe {made.name}, learned from {fixed.data}.",
        labels=fixed.labels,
        window_us=WINDOW_US,
        hop_us=HOP_US,
        frame_hz=FRAME_HZ,
        engines=Engines(
            fusion=file_part(folder, "fusion.onnx"),
            face_detector=detector,
            face_encoder=file_part(folder, "face_encoder.onnx"),
        ),
        crop=FaceCrop(size=fixed.size, template=fixed.template),
        calibration=Calibration(
            prior=tuple(round(float(p), 6) for p in prior),
            temperature={"video": calibrated.temperature},
            min_confidence={"video": calibrated.min_confidence},
        ),
        licences=Licences(
            code="MIT",
            data=f"{fixed.source}: {fixed.licence}",
            weights="face_detector.onnx CC-BY-NC-SA-4.0; the others as the licence of the data allows",
        ),
        results=results,
    )
