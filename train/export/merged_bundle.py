"""Members of one modality each as one bundle: their encoders side by side, and one head.

A TOML file says what the bundle is called and where the engines come from that no member brings:

    name = "pocket"
    version = "0.2.0"
    summary = "Small embedded recognizer."
    limits = "What its users should know."
    [face_detector]
    source = "runs/face_detector"          # a run, a bundle, or an .onnx file
    input_size = 384                       # as in the manifest of a bundle; a bundle brings its own
    threshold = 0.45                       # and others where they differ from the defaults
    [prior]                                # assumed in use; without it that of the training data
    neutral = 0.4
    [trust]                                # share of a modality's evidence that counts beside others;
    voice = 0.6                            # without it all that the head learned
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import onnx
import torch
from msgspec import structs

from affectstream.engines.bundle.folder import MANIFEST, Member, find_bundle, read_manifest
from affectstream.engines.bundle.shapes import ENCODER_ROLES
from affectstream.engines.labels import MODALITIES, Modality
from affectstream.engines.manifest import (
    FORMAT,
    Calibration,
    DetectorPart,
    Engines,
    FaceRole,
    FilePart,
    GeometryPart,
    Licenses,
    Manifest,
)
from affectstream.engines.models.registry import part_path
from affectstream.stream.errors import OptionError
from affectstream.train.config import read_toml
from affectstream.train.errors import RunError
from affectstream.train.export.bundle_folder import copy_licences, file_part
from affectstream.train.fit.checkpoint import BEST, load, load_run
from affectstream.train.late_fusion.member_logits import modalities_of
from affectstream.train.late_fusion.recipe import FUSION, LateFusion
from affectstream.train.onnx.engine_files import TOKENIZER
from affectstream.train.onnx.heads import joined
from affectstream.train.recipes.registry import recipes

Trust = Annotated[float, msgspec.Meta(gt=0, le=1)]

_TYPES: Mapping[FaceRole, type[DetectorPart | GeometryPart]] = {
    "face_detector": DetectorPart,
    "face_geometry": GeometryPart,
}


class MergeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the TOML file says, see the module. None leaves a part to the member that takes pictures."""

    name: str
    version: str
    summary: str
    face_detector: dict[str, Any] | None = None
    face_geometry: dict[str, Any] | None = None
    clips: str | None = None
    """Folder of all data sets, on whose clips the face detector is measured."""
    prior: dict[str, float] = msgspec.field(default_factory=dict)
    trust: dict[Modality, Trust] = msgspec.field(default_factory=dict)
    """How much of a modality's evidence holds in use, if its members learned from people unlike those in use.
    Temperatures are fitted afterwards, so a modality alone is as sure as before."""
    weights: str | None = None
    """License of the weights, an SPDX name or words."""
    limits: str = ""

    @classmethod
    def read(cls, path: Path, labels: Sequence[str]) -> MergeConfig:
        """Read the file. Raises `OptionError` for a fault in it, such as a prior of other labels."""
        try:
            config = msgspec.convert(read_toml(path), cls)
        except msgspec.ValidationError as error:
            raise OptionError(f"{path}: {error}") from error
        if config.prior and (
            set(config.prior) != set(labels) or abs(sum(config.prior.values()) - 1.0) > 1e-3
        ):
            raise OptionError(
                f"{path}: prior has {', '.join(config.prior)}, expected shares of {', '.join(labels)} "
                "that add up to 1"
            )
        return config


def by_modality(members: Sequence[Member]) -> dict[Modality, Member]:
    """The member of each modality. Raises `OptionError` if members cannot be merged: two of one modality,
    different windows, metadata."""
    found: dict[Modality, Member] = {}
    for member in members:
        for modality in modalities_of(member):
            if modality in found:
                raise OptionError(
                    f"--merge: {found[modality].name!r} and {member.name!r} both take {modality}: "
                    "members can be merged if each modality is taken by one of them"
                )
            found[modality] = member
        if member.manifest.metadata:
            raise OptionError(
                f"--merge: member {member.name!r} takes metadata, which is not merged"
            )
    if len(spans := {member.manifest.window_us for member in members}) > 1:
        windows = ", ".join(f"{span / 1e6:g} s" for span in sorted(spans))
        raise OptionError(f"--merge: the members have windows of {windows}, expected one")
    return {modality: found[modality] for modality in MODALITIES if modality in found}


def trusted(module: LateFusion, members: Sequence[Member], config: MergeConfig) -> None:
    """Weaken the members in `module` whose modality is trusted less. Raises as `by_modality`, and
    `OptionError` for a modality that no member takes."""
    found = by_modality(members)
    if others := sorted(set(config.trust) - set(found)):
        raise OptionError(
            f"--merge: trust has {', '.join(others)}, expected some of {', '.join(found)}, which the "
            "members take"
        )
    with torch.no_grad():
        for modality, share in config.trust.items():
            number = members.index(found[modality])
            module.weights[number] *= share
            if module.biases is not None and module.biases.dim() > 1:
                module.biases[number] *= share


def write_merged(members: Sequence[Member], config: MergeConfig, folder: Path) -> Engines:
    """Write the engines of one bundle into `folder`, which holds the fusion of the members already. Raises as
    `by_modality`, and `RunError` for an engine that is not where `config` says."""
    parts: dict[str, FilePart] = {}
    for modality, member in by_modality(members).items():
        role = ENCODER_ROLES[modality]
        part = getattr(member.manifest.engines, role)
        parts[role] = _copied(part, member.folder, f"{role}.onnx", folder)
        if modality == "text":
            words = _copied(part.tokenizer, member.folder, TOKENIZER, folder)
            parts[role] = structs.replace(parts[role], tokenizer=words)
        if modality == "video":
            for face_part in _TYPES:
                settings = getattr(config, face_part)
                if settings is not None:
                    parts[face_part] = face_engine(face_part, settings, folder)
                elif (own := getattr(member.manifest.engines, face_part)) is not None:
                    parts[face_part] = _copied(own, member.folder, f"{face_part}.onnx", folder)
    heads = {m.name: part_path(m.folder, m.manifest.engines.fusion) for m in members}
    fused = folder / FUSION
    joined(heads, fused, fused)
    return Engines(**{"fusion": file_part(folder, FUSION), **parts})  # type: ignore[arg-type]


def _copied(part: FilePart, source: Path, name: str, folder: Path) -> FilePart:
    shutil.copyfile(part_path(source, part), folder / name)
    copy_licences(source, folder)
    return structs.replace(part, file=name, model=msgspec.UNSET)


def face_engine(
    role: FaceRole, settings: Mapping[str, Any], folder: Path
) -> DetectorPart | GeometryPart:
    """Write the engine of `role` into `folder`, and return its part of a manifest.

    ``source`` in `settings` is a bundle, the run of a recipe that exports this engine, or an ``.onnx`` file;
    the others are fields of the part; `input_size` of a ``face_geometry`` is read from its graph. Raises
    `RunError` for another source, `OptionError` for wrong fields.
    """
    own = dict(settings)
    source, name = str(own.pop("source", "")), f"{role}.onnx"
    path = Path(source)
    if source == "pocket" or (path / MANIFEST).is_file():
        bundle = find_bundle(source)
        part = getattr(read_manifest(bundle).engines, role)
        if part is None:
            raise RunError(f"{bundle} has no {role}")
        own = {**msgspec.to_builtins(_copied(part, bundle, name, folder)), **own}
    elif (path / BEST).is_file():
        recipe = recipes()[load(path / BEST)["recipe"]]
        recipe.export(load_run(recipe, path).module, folder)
    elif path.suffix == ".onnx" and path.is_file():
        shutil.copyfile(path, folder / name)
    if not (folder / name).is_file():
        raise RunError(
            f"{role}: {source!r} is neither a bundle, nor the run of a recipe for it, nor an .onnx file"
        )
    if role == "face_geometry":
        own["input_size"] = _side(folder / name)
    own |= {"file": name, "sha256": file_part(folder, name).sha256}
    try:
        return msgspec.convert(own, _TYPES[role])
    except msgspec.ValidationError as error:
        raise OptionError(f"{role}: {error}") from error


def _side(graph: Path) -> int:
    """Height of the pictures (N, S, S, 3) that an engine takes."""
    taken = onnx.load(str(graph), load_external_data=False).graph.input[0].type.tensor_type
    return int(taken.shape.dim[1].dim_value)


def merged_manifest(
    members: Sequence[Member],
    config: MergeConfig,
    engines: Engines,
    data: str,
    prior: tuple[float, ...],
) -> Manifest:
    """The manifest before calibration; `data` names source and license of what the head was fitted to,
    `prior` has the shares of the labels in use."""
    found = by_modality(members)
    first, video = members[0].manifest, found.get("video")
    sources = [*(f"{m.name}: {m.manifest.licences.data}" for m in members), f"fusion: {data}"]
    weights = [f"{m.name}: {m.manifest.licences.weights}" for m in members]
    return Manifest(
        format=FORMAT,
        name=config.name,
        version=config.version,
        summary=config.summary,
        labels=first.labels,
        window_us=first.window_us,
        hop_us=first.hop_us,
        frame_hz=(first if video is None else video.manifest).frame_hz,
        engines=engines,
        calibration=Calibration(prior, {}, {}),
        licences=Licenses("MIT", "; ".join(sources), config.weights or "; ".join(weights)),
        crop=None if video is None else video.manifest.crop,
        languages=found["text"].manifest.languages if "text" in found else (),
        # What was measured of each member alone, under the role of its encoder.
        results=tuple(
            structs.replace(row, part=ENCODER_ROLES[modality])
            for modality, member in found.items()
            for row in member.manifest.results
            if row.part in (modality, ENCODER_ROLES[modality], "as they are")
        ),
    )
