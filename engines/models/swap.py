"""Giving a public model its role in a bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

from msgspec import structs

from affectstream.engines.bundle import MANIFEST, locate, read_manifest
from affectstream.engines.errors import BundleError
from affectstream.engines.manifest import FORMAT, Manifest, encode
from affectstream.engines.models.registry import PublicModel


def put_into(folder: Path, name: str, model: PublicModel, begin_with: str | Path) -> Manifest:
    """Let `model`, called `name` in the registry, take its role in the bundle in `folder`.

    A folder that is not there is made as a copy of the bundle `begin_with`. The file of the model it
    replaces stays; what was measured of that one goes. Returns the new manifest; raises `BundleError`
    where there is no such bundle, or it has no such role.
    """
    source = folder if folder.exists() else locate(begin_with)
    manifest = _with(read_manifest(locate(source)), source, name, model)
    if source != folder:
        shutil.copytree(source, folder)
    scratch = folder / f".{MANIFEST}.tmp"
    scratch.write_bytes(encode(manifest))
    scratch.replace(folder / MANIFEST)
    return manifest


def _with(manifest: Manifest, folder: Path, name: str, model: PublicModel) -> Manifest:
    if getattr(manifest.engines, model.role) is None:
        raise BundleError(f"{folder} has no {model.role}: {name} has nothing to replace there")
    weights = [
        part for part in manifest.licences.weights.split("; ") if not part.startswith(model.role)
    ]
    weights.append(f"{model.role}: {model.licence}")
    return structs.replace(
        manifest,
        format=FORMAT,
        name=f"{manifest.name.partition('+')[0]}+{name}",
        engines=structs.replace(manifest.engines, **{model.role: model.part(name)}),
        licences=structs.replace(manifest.licences, weights="; ".join(weights)),
        results=tuple(result for result in manifest.results if result.part != model.role),
    )
