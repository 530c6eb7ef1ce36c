"""Every shape that two parts of a bundle must agree on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from affectstream.engines.errors import BundleError
from affectstream.engines.labels import MODALITIES, SENTIMENTS
from affectstream.engines.manifest import Manifest
from affectstream.engines.spec import Engine, TensorSpec

ENCODERS = {"video": "face_encoder", "voice": "voice_encoder", "text": "text_encoder"}
"""The role that feeds each modality of the head."""
YUNET = tuple(
    f"{name}_{stride}" for name in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)
)
"""Outputs that every face detector has."""

Shape = tuple[int | str, ...]


def head_outputs(labels: int) -> dict[str, Shape]:
    """What a head may say, by the name of the output, with `labels` labels.

    `logits` are for a uniform prior. `valence` is in [-1, 1], everything else in [0, 1]: `attention`
    and the three of `sentiment` (negative, neutral, positive) are probabilities.
    """
    return {
        "logits": ("N", labels),
        "intensities": ("N", labels),
        "valence": ("N",),
        "engagement": ("N",),
        "attention": ("N",),
        "intensity": ("N",),
        "sentiment": ("N", len(SENTIMENTS)),
    }


def check_graphs(folder: Path, manifest: Manifest, engines: Mapping[str, Engine]) -> None:
    """Raise `BundleError` where the graphs of the plain bundle in `folder` do not fit together."""
    head = _Part(folder, "fusion", engines["fusion"])
    _check_answers(head, manifest)
    for modality, role in ENCODERS.items():
        if modality not in head.engine.inputs:
            continue
        if role not in engines:
            raise BundleError(f"{folder}: fusion takes {modality!r} but the bundle has no {role}")
        encoder = _Part(folder, role, engines[role])
        steps, width = _sequence(head, encoder, manifest, modality)
        head.takes(modality, ("N", steps, width))
        head.takes(f"{modality}_mask", ("N", steps))
    if facts := len(manifest.metadata):
        head.takes("metadata", ("N", facts))
        head.takes("metadata_mask", ("N", facts))
    _check_inputs(head, manifest)
    if "face_detector" in engines:
        _check_detector(folder, engines["face_detector"])
    for part, name, shape in _feeds(folder, manifest, engines):
        part.takes(name, shape)


def check_joint(folder: Path, manifest: Manifest, fusion: Engine) -> None:
    """The same for the `fusion` of a bundle of members: ``members`` are the logits of each, ``mask``
    says which of them had anything to go by."""
    head = _Part(folder, "fusion", fusion)
    members, labels = len(manifest.members), len(manifest.labels)
    head.takes("members", ("N", members, labels))
    head.takes("mask", ("N", members))
    head.gives("logits", ("N", labels))
    if strange := sorted(set(fusion.inputs) - {"members", "mask"}):
        raise BundleError(f"{folder}: fusion takes {strange}, expected members and mask alone")


class _Part:
    """One engine and its name, to complain of."""

    def __init__(self, folder: Path, role: str, engine: Engine) -> None:
        self.folder, self._role, self.engine = folder, role, engine

    def takes(self, name: str, shape: Shape) -> None:
        """Demand an input."""
        self._demand(self.engine.inputs.get(name), name, shape)

    def gives(self, name: str, shape: Shape) -> None:
        """Demand an output."""
        self._demand(self.engine.outputs.get(name), name, shape)

    def _demand(self, spec: TensorSpec | None, name: str, shape: Shape) -> None:
        if spec is None or not _matches(spec.shape, shape):
            found = "nothing of that name" if spec is None else spec.describe()
            raise BundleError(
                f"{self.folder}: {self._role} needs {name} ({', '.join(map(str, shape))}), "
                f"found {found}"
            )


def _check_inputs(head: _Part, manifest: Manifest) -> None:
    known = {*MODALITIES, *(("metadata",) if manifest.metadata else ())}
    found = set(head.engine.inputs)
    if strange := sorted(found - known - {f"{name}_mask" for name in known}):
        raise BundleError(
            f"{head.folder}: fusion takes {strange}, which the manifest does not name"
        )
    if not found & set(MODALITIES):
        raise BundleError(
            f"{head.folder}: fusion takes {sorted(found)}, expected some of {', '.join(MODALITIES)}"
        )


def _check_answers(head: _Part, manifest: Manifest) -> None:
    labels = len(manifest.labels)
    said = [name for name in head_outputs(labels) if name in head.engine.outputs]
    for name in said:
        head.gives(name, head_outputs(labels)[name])
    if labels and not {"logits", "intensities"} & set(said):
        head.gives("logits", ("N", labels))
    if not said:
        head.gives("logits", ("N", "C"))


def _sequence(
    head: _Part, encoder: _Part, manifest: Manifest, modality: str
) -> tuple[int | str, int | str]:
    """Steps and width of what an encoder gives the head: (N, D), or for sound and words (N, T, D)."""
    spec = encoder.engine.outputs.get("embedding")
    if modality == "video" or spec is None or len(spec.shape) != 3:
        encoder.gives("embedding", ("N", "D"))
        assert spec is not None
        return manifest.frames_per_window if modality == "video" else 1, spec.shape[-1]
    steps, width = spec.shape[1:]
    taken = head.engine.inputs[modality].shape
    if isinstance(steps, str) and len(taken) == 3:  # not told by the graph, so the head decides
        steps = taken[1]
    text = manifest.engines.text_encoder
    if modality == "text" and text is not None and steps not in (1, text.max_tokens):
        encoder.gives("embedding", ("N", text.max_tokens, "D"))
    if isinstance(steps, str):
        raise BundleError(
            f"{encoder.folder}: fusion needs a fixed number of steps of {modality}, found "
            f"{head.engine.inputs[modality].describe()}: export it so"
        )
    return steps, width


def _feeds(
    folder: Path, manifest: Manifest, engines: Mapping[str, Engine]
) -> Iterator[tuple[_Part, str, Shape]]:
    """What each encoder is fed."""
    if manifest.crop is not None:
        side = manifest.crop.size
        part = _Part(folder, "face_encoder", engines["face_encoder"])
        yield part, "pixels", ("N", side, side, 3)
    if "voice_encoder" in engines:
        part = _Part(folder, "voice_encoder", engines["voice_encoder"])
        yield part, "samples", ("N", manifest.samples_per_window)
    text = manifest.engines.text_encoder
    if text is not None:
        part = _Part(folder, "text_encoder", engines["text_encoder"])
        yield part, "ids", ("N", text.max_tokens)
        yield part, "mask", ("N", text.max_tokens)


def _check_detector(folder: Path, detector: Engine) -> None:
    pictures = [spec for spec in detector.inputs.values() if len(spec.shape) == 4]
    if set(YUNET) - set(detector.outputs) or len(pictures) != 1 or len(detector.inputs) != 1:
        raise BundleError(
            f"{folder}: face_detector needs one picture as input and YuNet's twelve outputs, found "
            f"{', '.join(s.describe() for s in detector.inputs.values())} and {sorted(detector.outputs)}"
        )


def _matches(found: Shape, wanted: Shape) -> bool:
    return len(found) == len(wanted) and all(
        isinstance(w, str) or f == w for f, w in zip(found, wanted, strict=True)
    )
