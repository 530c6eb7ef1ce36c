"""Checks every shape on which two parts of a bundle must agree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

from affectstream.engines.errors import BundleError
from affectstream.engines.labels import MODALITIES, SENTIMENTS
from affectstream.engines.landmarks import LANDMARKS, MEASURES
from affectstream.engines.manifest import DetectorPart, Manifest, Role
from affectstream.engines.spec import Engine, TensorSpec

ENCODER_ROLES: dict[str, Role] = {
    "video": "face_encoder",
    "voice": "voice_encoder",
    "text": "text_encoder",
}
"""The encoder of each modality."""
YUNET_OUTPUTS = tuple(
    f"{name}_{stride}" for name in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)
)
"""The outputs of every face detector."""

Shape = tuple[int | str, ...]
HeadOutput = Literal[
    "logits",
    "intensities",
    "valence",
    "arousal",
    "engagement",
    "attention",
    "intensity",
    "sentiment",
]


def head_output_shapes(labels: int) -> dict[HeadOutput, Shape]:
    """The shapes of the outputs that a head may have, for `labels` labels.

    `logits` are for a uniform prior. `valence` and `arousal` are in [-1, 1], every other output in [0, 1];
    `attention` and the three of `sentiment` (negative, neutral, positive) are probabilities.
    """
    return {
        "logits": ("N", labels),
        "intensities": ("N", labels),
        "valence": ("N",),
        "arousal": ("N",),
        "engagement": ("N",),
        "attention": ("N",),
        "intensity": ("N",),
        "sentiment": ("N", len(SENTIMENTS)),
    }


def check_graphs(folder: Path, manifest: Manifest, engines: Mapping[str, Engine]) -> None:
    """Raise `BundleError` if the graphs of a bundle without members do not fit together."""
    head = _Part(folder, "fusion", engines["fusion"])
    _check_head_outputs(head, manifest)
    for modality, role in ENCODER_ROLES.items():
        if modality not in head.engine.inputs:
            continue
        if role not in engines:
            raise BundleError(f"{folder}: fusion takes {modality!r} but the bundle has no {role}")
        encoder = _Part(folder, role, engines[role])
        steps, width = _sequence(head, encoder, manifest, modality)
        head.check_input(modality, ("N", steps, width))
        head.check_input(f"{modality}_mask", ("N", steps))
    if features := len(manifest.metadata):
        head.check_input("metadata", ("N", features))
        head.check_input("metadata_mask", ("N", features))
    _check_head_inputs(head, manifest)
    if manifest.engines.face_detector is not None:
        _check_detector(folder, engines["face_detector"], manifest.engines.face_detector)
    if manifest.engines.face_geometry is not None:
        side = manifest.engines.face_geometry.input_size
        geometry = _Part(folder, "face_geometry", engines["face_geometry"])
        geometry.check_input("pixels", ("N", side, side, 3), np.uint8)
        geometry.check_only_input("pixels")
        geometry.check_output("landmarks", ("N", len(LANDMARKS), 2), np.float32)
        geometry.check_output("measures", ("N", len(MEASURES)), np.float32)
    _check_encoder_inputs(folder, manifest, engines)


def check_member_fusion(folder: Path, manifest: Manifest, fusion: Engine) -> None:
    """Raise `BundleError` if `fusion` does not fit a bundle of members (see `Manifest.members`)."""
    head = _Part(folder, "fusion", fusion)
    members, labels = len(manifest.members), len(manifest.labels)
    head.check_input("members", ("N", members, labels))
    head.check_input("mask", ("N", members))
    head.check_output("logits", ("N", labels))
    if unknown := sorted(set(fusion.inputs) - {"members", "mask"}):
        raise BundleError(f"{folder}: fusion takes {unknown}, expected members and mask alone")


class _Part:
    """An engine, with its role for error messages."""

    def __init__(self, folder: Path, role: str, engine: Engine) -> None:
        self.folder, self._role, self.engine = folder, role, engine

    def check_input(self, name: str, shape: Shape, dtype: DTypeLike | None = None) -> None:
        """Raise `BundleError` unless the engine has this input, of this type unless None."""
        self._check(self.engine.inputs.get(name), name, shape, dtype)

    def check_output(self, name: str, shape: Shape, dtype: DTypeLike | None = None) -> None:
        """Raise `BundleError` unless the engine has this output, of this type unless None."""
        self._check(self.engine.outputs.get(name), name, shape, dtype)

    def check_only_input(self, name: str) -> None:
        """Raise `BundleError` if the engine has another input."""
        if others := sorted(set(self.engine.inputs) - {name}):
            raise BundleError(f"{self.folder}: {self._role} takes {others}, expected {name} alone")

    def _check(
        self, spec: TensorSpec | None, name: str, shape: Shape, dtype: DTypeLike | None
    ) -> None:
        if (
            spec is None
            or not _matches(spec.shape, shape)
            or (dtype is not None and spec.dtype != dtype)
        ):
            kind = "" if dtype is None else f" {np.dtype(dtype)}"
            found = "nothing of that name" if spec is None else spec.describe()
            raise BundleError(
                f"{self.folder}: {self._role} needs {name} ({', '.join(map(str, shape))}){kind}, "
                f"found {found}"
            )


def _check_head_inputs(head: _Part, manifest: Manifest) -> None:
    known = {*MODALITIES, *(("metadata",) if manifest.metadata else ())}
    inputs = set(head.engine.inputs)
    if unknown := sorted(inputs - known - {f"{name}_mask" for name in known}):
        raise BundleError(
            f"{head.folder}: fusion takes {unknown}, which the manifest does not name"
        )
    if not inputs & set(MODALITIES):
        raise BundleError(
            f"{head.folder}: fusion takes {sorted(inputs)}, expected some of {', '.join(MODALITIES)}"
        )


def _check_head_outputs(head: _Part, manifest: Manifest) -> None:
    labels = len(manifest.labels)
    shapes = head_output_shapes(labels)
    outputs = [name for name in shapes if name in head.engine.outputs]
    for name in outputs:
        head.check_output(name, shapes[name])
    if labels and not {"logits", "intensities"} & set(outputs):
        head.check_output("logits", ("N", labels))
    if not outputs:
        head.check_output("logits", ("N", "C"))


def _sequence(
    head: _Part, encoder: _Part, manifest: Manifest, modality: str
) -> tuple[int | str, int | str]:
    """The number of steps and the width of an encoder's embedding, as the head takes it.

    The embedding is (N, D), or (N, T, D) for voice and text.
    """
    spec = encoder.engine.outputs.get("embedding")
    if modality == "video" or spec is None or len(spec.shape) != 3:
        encoder.check_output("embedding", ("N", "D"))
        assert spec is not None
        return manifest.frames_per_window if modality == "video" else 1, spec.shape[-1]
    steps, width = spec.shape[1:]
    taken = head.engine.inputs[modality].shape
    if isinstance(steps, str) and len(taken) == 3:  # the graph does not say, so the head decides
        steps = taken[1]
    text = manifest.engines.text_encoder
    if modality == "text" and text is not None and steps not in (1, text.max_tokens):
        encoder.check_output("embedding", ("N", text.max_tokens, "D"))
    if isinstance(steps, str):
        raise BundleError(
            f"{encoder.folder}: fusion needs a fixed number of steps of {modality}, found "
            f"{head.engine.inputs[modality].describe()}: export it so"
        )
    return steps, width


def _check_encoder_inputs(folder: Path, manifest: Manifest, engines: Mapping[str, Engine]) -> None:
    if manifest.crop is not None:
        side = manifest.crop.size
        face = _Part(folder, "face_encoder", engines["face_encoder"])
        face.check_input("pixels", ("N", side, side, 3))
    if "voice_encoder" in engines:
        voice = _Part(folder, "voice_encoder", engines["voice_encoder"])
        voice.check_input("samples", ("N", manifest.samples_per_window))
    if manifest.engines.text_encoder is not None:
        text = _Part(folder, "text_encoder", engines["text_encoder"])
        for name in ("ids", "mask"):
            text.check_input(name, ("N", manifest.engines.text_encoder.max_tokens))


def _check_detector(folder: Path, detector: Engine, part: DetectorPart) -> None:
    pictures = [spec for spec in detector.inputs.values() if len(spec.shape) == 4]
    if (
        set(YUNET_OUTPUTS) - set(detector.outputs)
        or len(pictures) != 1
        or len(detector.inputs) != 1
    ):
        raise BundleError(
            f"{folder}: face_detector needs one picture as input and YuNet's twelve outputs, found "
            f"{', '.join(s.describe() for s in detector.inputs.values())} and {sorted(detector.outputs)}"
        )
    sides = pictures[0].shape[1:3] if part.layout == "nhwc" else pictures[0].shape[2:]
    fixed = all(isinstance(side, int) for side in sides)
    if (part.upright or part.leaning) and fixed and sides[0] != sides[1]:
        raise BundleError(
            f"{folder}: face_detector takes pictures of {sides[1]}x{sides[0]} only, and faces that lie or "
            "lean are looked at in others: leave out upright and leaning, or export it with free sides"
        )


def _matches(shape: Shape, expected: Shape) -> bool:
    return len(shape) == len(expected) and all(
        isinstance(e, str) or s == e for s, e in zip(shape, expected, strict=True)
    )
