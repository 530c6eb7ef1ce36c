"""One modality of a bundle as a bundle of its own, to join it with others."""

from __future__ import annotations

import shutil
from pathlib import Path

from msgspec import structs

from affectstream.engines.bundle.folder import find_bundle, read_manifest
from affectstream.engines.bundle.shapes import ENCODER_ROLES
from affectstream.engines.bundle.training import copy_training
from affectstream.engines.labels import Modality
from affectstream.engines.manifest import FACE_ROLES, Engines
from affectstream.engines.models.registry import part_path
from affectstream.stream.errors import OptionError
from affectstream.train.export.bundle_folder import (
    atomic_bundle,
    copy_texts,
    file_part,
    write_manifest,
)
from affectstream.train.export.steps import check_opens
from affectstream.train.fit.loggers import Report
from affectstream.train.onnx.heads import cut_down


def write_one_modality(
    bundle: str, modality: Modality, output: Path, *, report: Report = print
) -> None:
    """Write the bundle into `output`: the encoder of `modality` as it is, and the head without the others.

    Raises `BundleError` for a bundle that cannot be read, `OptionError` for one that lacks the modality or
    has members, `OutputError` where the disk refuses.
    """
    source = find_bundle(bundle)
    manifest, role = read_manifest(source), ENCODER_ROLES[modality]
    engines = manifest.engines
    if manifest.members or getattr(engines, role) is None:
        has = "has members: name one of them" if manifest.members else f"takes no {modality}"
        raise OptionError(f"{bundle} {has}")
    roles = [role, *(FACE_ROLES if modality == "video" else ())]
    parts = {r: part for r in roles if (part := getattr(engines, r)) is not None}
    with atomic_bundle(output) as folder:
        files = list(parts.values())
        if modality == "text" and engines.text_encoder is not None:
            files.append(engines.text_encoder.tokenizer)
        for part in files:
            shutil.copyfile(part_path(source, part), folder / part.file)
        copy_texts(source, folder)
        head = engines.fusion.file
        cut_down(part_path(source, engines.fusion), modality, folder / head)
        alone = {
            name: {k: v for k, v in getattr(manifest.calibration, name).items() if k == modality}
            for name in ("temperature", "min_confidence", "neutral")
        }
        own = structs.replace(
            manifest,
            name=f"{manifest.name}-{modality}",
            summary=f"The {modality} of {manifest.name} {manifest.version}.",
            engines=Engines(fusion=file_part(folder, head), **parts),  # type: ignore[arg-type]
            calibration=structs.replace(manifest.calibration, conflict={}, **alone),
            crop=manifest.crop if modality == "video" else None,
            languages=manifest.languages if modality == "text" else (),
            results=tuple(r for r in manifest.results if r.part in (role, *parts, modality)),
        )
        write_manifest(folder, own)
        copy_training(source, manifest, folder, own)
        check_opens(folder, own, report)
