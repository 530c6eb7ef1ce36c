"""Whole bundles of graphs so small that what they say can be worked out by hand.

A head adds up what its encoders give, each modality weighed by a number of its own, and gives that sum
times 0, 1, 2, ... for its labels. The face encoder gives the mean colour of what it is shown, the voice
encoder the peak of each stretch of the window, the text encoder the numbers of its tokens.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from affectstream.engines.bundle.folder import MANIFEST, POCKET, read_manifest
from affectstream.engines.bundle.training import WEIGHTS as WEIGHTS_FILE
from affectstream.engines.bundle.training import write_recipe
from affectstream.engines.cache.digest import sha256
from affectstream.engines.landmarks import LANDMARKS, MEASURES
from affectstream.engines.manifest import (
    FORMAT,
    Calibration,
    Engines,
    FaceCrop,
    FilePart,
    GeometryPart,
    Licenses,
    Manifest,
    Role,
    TextPart,
    encode_manifest,
)
from affectstream.stream.faces.crop import TEMPLATE

FLOAT, BOOL, INT64, UINT8 = (
    TensorProto.FLOAT,
    TensorProto.BOOL,
    TensorProto.INT64,
    TensorProto.UINT8,
)
LABELS = ("neutral", "joy", "sadness")
FACE = FaceCrop(size=48, template=TEMPLATE)
WEIGHTS = {"video": 1.0, "voice": 2.0, "text": 0.1, "metadata": 3.0}
WORDS = ("[pad]", "[unk]", "A:", "B:", "yes", "no", "well", "never", "always")
SPAN = 1_000_000, 500_000, 4
"""Window, hop (microseconds) and frames a second."""
GEOMETRY_SIZE = 32
MEASURED = (10.0, 5.0, -3.0, 0.3, 0.28, 0.04, 2.0, -1.0)
"""The measures that the geometry engine gives for every face; its landmarks are those of `FRONTAL`."""
_FRONTAL_POINTS = {
    "right_eye_outer": (0.34, 0.42),
    "right_eye_inner": (0.45, 0.42),
    "left_eye_inner": (0.55, 0.42),
    "left_eye_outer": (0.66, 0.42),
    "nose_tip": (0.5, 0.55),
    "mouth_right": (0.42, 0.66),
    "mouth_left": (0.58, 0.66),
}
FRONTAL = np.array([_FRONTAL_POINTS.get(name, (0.5, 0.5)) for name in LANDMARKS], np.float32)
"""Landmarks (32, 2) of an upright face in its square; those that no test needs lie in the middle."""

Axes = Sequence[int | str]


def plain(
    folder: Path,
    *,
    takes: Sequence[str] = ("video", "voice", "text"),
    crop: FaceCrop = FACE,
    geometry: bool = False,
    steps: Mapping[str, int] = {},
    span: tuple[int, int, int] = SPAN,
    metadata: Sequence[str] = (),
    context: int = 0,
    max_tokens: int = 6,
    answers: Sequence[str] = ("logits",),
    labels: Sequence[str] = LABELS,
    **changes: Any,
) -> Path:
    """A bundle without members in `folder`. `steps` are those of the voice and of the words, 1 unless
    given; `changes` are of the manifest."""
    folder.mkdir(parents=True)
    window_us, hop_us, frame_hz = span
    samples = window_us * 16_000 // 1_000_000
    lengths = {"video": window_us * frame_hz // 1_000_000, "voice": 1, "text": 1, **steps}
    parts: dict[str, FilePart] = {}
    if "video" in takes:
        _face_encoder(folder / "face_encoder.onnx", crop.size)
        parts["face_encoder"] = _part(folder, "face_encoder.onnx")
        if crop.kind != "frame":
            detector = read_manifest(POCKET).engines.face_detector
            assert detector is not None
            shutil.copyfile(POCKET / detector.file, folder / detector.file)
            parts["face_detector"] = detector
        if geometry:
            save_geometry(folder / "face_geometry.onnx")
            made = _part(folder, "face_geometry.onnx")
            parts["face_geometry"] = GeometryPart(made.file, made.sha256, input_size=GEOMETRY_SIZE)
    if "voice" in takes:
        _voice_encoder(folder / "voice_encoder.onnx", samples, lengths["voice"])
        parts["voice_encoder"] = _part(folder, "voice_encoder.onnx")
    if "text" in takes:
        _text_encoder(folder / "text_encoder.onnx", max_tokens, lengths["text"])
        tokenizer = Tokenizer(WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="[unk]"))
        tokenizer.pre_tokenizer = WhitespaceSplit()
        tokenizer.save(str(folder / "tokenizer.json"))
        made = _part(folder, "text_encoder.onnx")
        parts["text_encoder"] = TextPart(
            made.file,
            made.sha256,
            tokenizer=_part(folder, "tokenizer.json"),
            max_tokens=max_tokens,
            context=context,
        )
    widths = {"video": 3, "voice": 1, "text": 1}
    inputs: dict[str, Axes] = {m: ("N", lengths[m], widths[m]) for m in takes}
    if metadata:
        inputs["metadata"] = ("N", len(metadata))
    _head(folder / "fusion.onnx", inputs, answers, len(labels))
    manifest = Manifest(
        format=FORMAT,
        name=folder.name,
        version="0.1.0",
        summary="A small one.",
        labels=tuple(labels),
        window_us=window_us,
        hop_us=hop_us,
        frame_hz=frame_hz,
        engines=Engines(fusion=_part(folder, "fusion.onnx"), **parts),  # type: ignore[arg-type]
        calibration=_even(labels),
        licences=Licenses("MIT", "none", "MIT"),
        crop=crop if "video" in takes else None,
        languages=("en",),
        metadata=tuple(metadata),  # type: ignore[arg-type]
    )
    rewrite(folder, manifest, **changes)
    return folder


def compound(
    folder: Path, members: Sequence[Path], weights: Sequence[float], **changes: Any
) -> Path:
    """A bundle of `members`, which lie in `folder`; what each says counts by its weight."""
    manifests = [read_manifest(member) for member in members]
    labels = manifests[0].labels
    _joint(folder / "fusion.onnx", weights, len(labels))
    manifest = Manifest(
        format=FORMAT,
        name=folder.name,
        version="0.1.0",
        summary="Several small ones.",
        labels=labels,
        window_us=max(m.window_us for m in manifests),
        hop_us=manifests[0].hop_us,
        frame_hz=max(m.frame_hz for m in manifests),
        engines=Engines(fusion=_part(folder, "fusion.onnx")),
        calibration=_even(labels),
        licences=Licenses("MIT", "none", "MIT"),
        members=tuple(member.name for member in members),
    )
    rewrite(folder, manifest, **changes)
    return folder


def rewrite(folder: Path, manifest: Manifest | None = None, **changes: Any) -> None:
    """Write the manifest again, with some fields changed."""
    from msgspec import structs

    manifest = manifest or read_manifest(folder)
    (folder / MANIFEST).write_bytes(encode_manifest(structs.replace(manifest, **changes)))


def _even(labels: Sequence[str]) -> Calibration:
    return Calibration(
        prior=(1 / len(labels),) * len(labels) if labels else (), temperature={}, min_confidence={}
    )


def _part(folder: Path, name: str) -> FilePart:
    return FilePart(name, sha256(folder / name))


def save_geometry(
    path: Path,
    *,
    size: int = GEOMETRY_SIZE,
    points: int = len(LANDMARKS),
    dtype: int = UINT8,
    leave_out: str = "",
) -> None:
    """A geometry engine that gives `FRONTAL` and `MEASURED` for every face, or an invalid one."""
    nodes = [
        helper.make_node("Shape", ["pixels"], ["rows"], start=0, end=1),
        helper.make_node("Concat", ["rows", "of_points"], ["point_shape"], axis=0),
        helper.make_node("Concat", ["rows", "of_measures"], ["measure_shape"], axis=0),
        helper.make_node("Expand", ["frontal", "point_shape"], ["landmarks"]),
        helper.make_node("Expand", ["measured", "measure_shape"], ["measures"]),
    ]
    weights = {
        "of_points": np.array([points, 2], np.int64),
        "of_measures": np.array([len(MEASURES)], np.int64),
        "frontal": np.resize(FRONTAL, (1, points, 2)),
        "measured": np.array([MEASURED], np.float32),
    }
    outputs: dict[str, Axes] = {
        "landmarks": ("N", points, 2),
        "measures": ("N", len(MEASURES)),
    }
    outputs.pop(leave_out, None)
    _save(path, nodes, {"pixels": (dtype, ("N", size, size, 3))}, outputs, weights)


def _face_encoder(path: Path, size: int) -> None:
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=FLOAT),
        helper.make_node("ReduceMean", ["float", "sides"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "most"], ["embedding"]),
    ]
    weights = {"sides": np.array([1, 2], np.int64), "most": np.array(255, np.float32)}
    _save(path, nodes, {"pixels": (UINT8, ("N", size, size, 3))}, {"embedding": ("N", 3)}, weights)


def _voice_encoder(path: Path, samples: int, steps: int) -> None:
    nodes = [
        helper.make_node("Abs", ["samples"], ["loud"]),
        helper.make_node("Reshape", ["loud", "parts"], ["stretches"]),
        helper.make_node("ReduceMax", ["stretches", "last"], ["embedding"], keepdims=1),
    ]
    weights = {
        "parts": np.array([-1, steps, samples // steps], np.int64),
        "last": np.array([2], np.int64),
    }
    inputs = {"samples": (FLOAT, ("N", samples))}
    _save(path, nodes, inputs, {"embedding": ("N", steps, 1)}, weights)


def _text_encoder(path: Path, tokens: int, steps: int) -> None:
    """With one step the sum of the numbers of the tokens, otherwise the first `steps` of them."""
    nodes = [
        helper.make_node("Cast", ["ids"], ["numbers"], to=FLOAT),
        helper.make_node("Cast", ["mask"], ["there"], to=FLOAT),
        helper.make_node("Mul", ["numbers", "there"], ["kept"]),
        helper.make_node("Unsqueeze", ["kept", "last"], ["sequence"]),
    ]
    weights = {"last": np.array([2], np.int64)}
    if steps == 1:
        nodes.append(
            helper.make_node("ReduceSum", ["sequence", "middle"], ["embedding"], keepdims=1)
        )
        weights["middle"] = np.array([1], np.int64)
    else:
        nodes.append(helper.make_node("Slice", ["sequence", "from", "to", "along"], ["embedding"]))
        weights |= {"from": np.array([0]), "to": np.array([steps]), "along": np.array([1])}
    inputs = {"ids": (INT64, ("N", tokens)), "mask": (BOOL, ("N", tokens))}
    _save(path, nodes, inputs, {"embedding": ("N", steps, 1)}, weights)


def _head(path: Path, inputs: Mapping[str, Axes], answers: Sequence[str], labels: int) -> None:
    """The weighed sum s of what is not masked; logits are s x (0, 1, 2, ...), all else 0.5 + s / 1000."""
    nodes: list[NodeProto] = []
    weights: dict[str, NDArray[Any]] = {}
    given: dict[str, tuple[int, Axes]] = {}
    for name, axes in inputs.items():
        given[name] = FLOAT, axes
        given[f"{name}_mask"] = BOOL, axes[:2]
        mask, others = f"{name}_there", list(range(1, len(axes)))
        nodes.append(helper.make_node("Cast", [f"{name}_mask"], [mask], to=FLOAT))
        if len(axes) == 3:
            nodes.append(helper.make_node("Unsqueeze", [mask, "last"], [f"{mask}_wide"]))
            mask = f"{mask}_wide"
        weights[f"{name}_axes"] = np.array(others, np.int64)
        weights[f"{name}_weight"] = np.array(WEIGHTS[name], np.float32)
        nodes += [
            helper.make_node("Mul", [name, mask], [f"{name}_kept"]),
            helper.make_node(
                "ReduceSum", [f"{name}_kept", f"{name}_axes"], [f"{name}_sum"], keepdims=0
            ),
            helper.make_node("Mul", [f"{name}_sum", f"{name}_weight"], [f"{name}_part"]),
        ]
    weights["last"] = np.array([2], np.int64)
    weights["across"] = np.array([1], np.int64)
    weights["small"], weights["half"] = np.array(1e-3, np.float32), np.array(0.5, np.float32)
    nodes += [
        helper.make_node("Sum", [f"{name}_part" for name in inputs], ["sum"]),
        helper.make_node("Unsqueeze", ["sum", "across"], ["column"]),
        helper.make_node("Mul", ["sum", "small"], ["thousandth"]),
        helper.make_node("Add", ["thousandth", "half"], ["share"]),
        helper.make_node("Unsqueeze", ["share", "across"], ["share_column"]),
    ]
    shapes: dict[str, Axes] = {}
    for answer in answers:
        if answer in ("valence", "arousal", "engagement", "attention", "intensity"):
            nodes.append(helper.make_node("Identity", ["share"], [answer]))
            shapes[answer] = ("N",)
            continue
        columns = 3 if answer == "sentiment" else labels
        scale = np.arange(columns) if answer == "logits" else np.ones(columns)
        weights[f"{answer}_scale"] = scale[None].astype(np.float32)
        source = "column" if answer == "logits" else "share_column"
        nodes.append(helper.make_node("Mul", [source, f"{answer}_scale"], [answer]))
        shapes[answer] = ("N", columns)
    _save(path, nodes, given, shapes, weights)


def _joint(path: Path, weights: Sequence[float], labels: int) -> None:
    count = len(weights)
    nodes = [
        helper.make_node("Cast", ["mask"], ["there"], to=FLOAT),
        helper.make_node("Mul", ["there", "weights"], ["counted"]),
        helper.make_node("Unsqueeze", ["counted", "last"], ["wide"]),
        helper.make_node("Mul", ["members", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "across"], ["logits"], keepdims=0),
    ]
    constants = {
        "weights": np.asarray(weights, np.float32)[None],
        "last": np.array([2], np.int64),
        "across": np.array([1], np.int64),
    }
    inputs = {"members": (FLOAT, ("N", count, labels)), "mask": (BOOL, ("N", count))}
    _save(path, nodes, inputs, {"logits": ("N", labels)}, constants)


def _save(
    path: Path,
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, tuple[int, Axes]],
    outputs: Mapping[str, Axes],
    weights: Mapping[str, NDArray[Any]],
) -> None:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(name, *of) for name, of in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, axes) for name, axes in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def write_training_part(bundle: Path, folder: Path, *roles: Role) -> None:
    """Write a part of `training/` into `folder` that says it gave the engines of `roles`; its weights are
    none."""
    folder.mkdir(parents=True)
    (folder / WEIGHTS_FILE).write_bytes(b"weights")
    engines = {role: sha256(bundle / f"{role}.onnx") for role in roles}
    saved = {"recipe": "toy", "setting": {}, "weights_sha256": sha256(folder / WEIGHTS_FILE)}
    write_recipe(saved, engines, folder)
