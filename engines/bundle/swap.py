"""Giving a public model its role in a bundle."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

from msgspec import structs

from affectstream.engines.bundle.folder import MANIFEST, POCKET, engine_parts, locate, read_manifest
from affectstream.engines.bundle.shapes import ENCODERS, check_graphs
from affectstream.engines.bundle.swap_card import CARD, card_of
from affectstream.engines.errors import BundleError, EngineError, UsageError
from affectstream.engines.manifest import FORMAT, Engines, Manifest, encode
from affectstream.engines.models.registry import Listed, file_of
from affectstream.engines.open import open_engine


def put_into(folder: Path, name: str, model: Listed, begin_with: str | Path) -> Manifest:
    """Let `model`, called `name` in the registry, take its role in the bundle in `folder`.

    A folder that is not there is made as a copy of the bundle `begin_with`. The file of the model it
    replaces stays; what was measured of that one, and of the whole with it, goes, and the card says so.
    Returns the new manifest. Raises `BundleError` where there is no such bundle, it has no such role, the
    model does not fit into it (looked at where it was pulled) or it cannot be written, and `UsageError`
    for the name of the bundle in the package.
    """
    if str(folder) == "pocket" or folder.resolve() == POCKET.resolve():
        raise UsageError(
            "'pocket' always means the bundle in the package: give the new one another name"
        )
    source = folder if folder.exists() else locate(begin_with)
    manifest = _with(read_manifest(locate(source)), source, name, model)
    if all(file.path.is_file() for file in model.files):
        _check_fit(source, manifest, name, model.role)
    try:
        if source == folder:
            _write(folder, manifest)
        else:
            _copy(source, folder, manifest)
    except OSError as error:
        raise BundleError(f"{folder} cannot be written: {error}; nothing was changed") from error
    return manifest


def _write(folder: Path, manifest: Manifest) -> None:
    """Card and manifest; both are whole before either takes its place."""
    card = folder / CARD
    before = card.read_text("utf-8") if card.is_file() else ""
    contents = {CARD: card_of(manifest, before).encode(), MANIFEST: encode(manifest)}
    try:
        for name, content in contents.items():
            (folder / f".{name}.tmp").write_bytes(content)
        for name in contents:
            (folder / f".{name}.tmp").replace(folder / name)
    finally:
        for name in contents:
            (folder / f".{name}.tmp").unlink(missing_ok=True)


def _copy(source: Path, folder: Path, manifest: Manifest) -> None:
    """Make `folder` of what is in `source`, whole or not at all."""
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        shutil.copytree(source, scratch)
        _write(scratch, manifest)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _with(manifest: Manifest, folder: Path, name: str, model: Listed) -> Manifest:
    if getattr(manifest.engines, model.role) is None:
        inside = ", ".join(str(folder / member) for member in manifest.members)
        where = f"; its members have their own: {inside}" if inside else ""
        raise BundleError(
            f"{folder} has no {model.role}: {name} has nothing to replace there{where}"
        )
    weights = [
        part for part in manifest.licences.weights.split("; ") if not part.startswith(model.role)
    ]
    weights.append(f"{model.role}: {model.licence}")
    # What was measured of the whole was measured with the part that goes.
    kept = set(Engines.__struct_fields__) - {"fusion", model.role}
    return structs.replace(
        model.placed(manifest, name),
        format=FORMAT,
        name=f"{manifest.name.partition('+')[0]}+{name}",
        licences=structs.replace(manifest.licences, weights="; ".join(weights)),
        results=tuple(result for result in manifest.results if result.part in kept),
    )


def _check_fit(folder: Path, manifest: Manifest, name: str, role: str) -> None:
    """Open every engine and look at the shapes. Raises `BundleError` where they do not go together."""
    with ExitStack() as stack:
        try:
            engines = {
                each: stack.enter_context(open_engine(file_of(folder, part)))
                for each, part in engine_parts(manifest).items()
            }
        except EngineError as error:
            raise BundleError(f"{name} does not fit: {error}") from error
        for modality, encoder in ENCODERS.items():
            given = engines[encoder].outputs.get("embedding") if encoder == role else None
            taken = engines["fusion"].inputs.get(modality)
            if given and taken and given.shape[-1] != taken.shape[-1]:
                raise BundleError(
                    f"{name} does not fit into {folder}: its embeddings have {given.shape[-1]} numbers, "
                    f"the head takes {taken.shape[-1]}: train a head on {name} and export that"
                )
        try:
            check_graphs(folder, manifest, engines)
        except BundleError as error:
            raise BundleError(f"{name} does not fit: {error}") from error
