"""Giving a public model its role in a bundle."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from msgspec import structs

from affectstream.engines.bundle import MANIFEST, POCKET, locate, read_manifest
from affectstream.engines.errors import BundleError, UsageError
from affectstream.engines.manifest import FORMAT, Manifest, encode
from affectstream.engines.models.registry import PublicModel


def put_into(folder: Path, name: str, model: PublicModel, begin_with: str | Path) -> Manifest:
    """Let `model`, called `name` in the registry, take its role in the bundle in `folder`.

    A folder that is not there is made as a copy of the bundle `begin_with`. The file of the model it
    replaces stays; what was measured of that one goes. Returns the new manifest; raises `BundleError`
    where there is no such bundle, it has no such role or it cannot be written, and `UsageError` for
    the name of the bundle in the package.
    """
    if str(folder) == "pocket" or folder.resolve() == POCKET:
        raise UsageError(
            "'pocket' always means the bundle in the package: give the new one another name"
        )
    source = folder if folder.exists() else locate(begin_with)
    manifest = _with(read_manifest(locate(source)), source, name, model)
    try:
        if source == folder:
            _write(folder, manifest)
        else:
            _copy(source, folder, manifest)
    except OSError as error:
        raise BundleError(f"{folder} cannot be written: {error}; nothing was changed") from error
    return manifest


def _write(folder: Path, manifest: Manifest) -> None:
    scratch = folder / f".{MANIFEST}.tmp"
    try:
        scratch.write_bytes(encode(manifest))
        scratch.replace(folder / MANIFEST)
    finally:
        scratch.unlink(missing_ok=True)


def _copy(source: Path, folder: Path, manifest: Manifest) -> None:
    """Make `folder` of what is in `source`, whole or not at all."""
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        shutil.copytree(source, scratch)
        _write(scratch, manifest)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


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
