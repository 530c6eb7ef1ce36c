"""Puts a public model into a bundle."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

from msgspec import structs

from affectstream.engines.bundle.folder import (
    MANIFEST,
    POCKET,
    check_self_contained,
    engine_parts,
    find_bundle,
    read_manifest,
)
from affectstream.engines.bundle.shapes import ENCODER_ROLES, check_graphs
from affectstream.engines.bundle.swap_card import CARD, card_text
from affectstream.engines.cache.atomic import replacing
from affectstream.engines.devices.open import open_engine
from affectstream.engines.errors import BundleError, EngineError, UsageError
from affectstream.engines.manifest import FORMAT, ROLES, Manifest, encode_manifest
from affectstream.engines.models.registry import RegisteredModel, part_path


def swap_model(folder: Path, name: str, model: RegisteredModel, base: str | Path) -> Manifest:
    """Put `model`, called `name` in the registry, into the bundle in `folder`, and return its new manifest.

    A missing folder is created as a copy of the bundle `base`. The file of the replaced model stays.
    Results that were measured with that model are removed, and the card says so. A pulled model is opened
    to check that it fits. Raises `BundleError` when the bundle does not exist, lacks the role or cannot be
    written, or when the model does not fit; `UsageError` for the bundle of the package.
    """
    if str(folder) == "pocket" or folder.resolve() == POCKET.resolve():
        raise UsageError(
            "'pocket' always means the bundle in the package: give the new one another name"
        )
    source = folder if folder.exists() else find_bundle(base)
    manifest = _replace_part(read_manifest(find_bundle(source)), source, name, model)
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
    """Write card and manifest; both are complete before either replaces the old one."""
    card = folder / CARD
    old_card = card.read_text("utf-8") if card.is_file() else ""
    with replacing(folder / MANIFEST) as new_manifest, replacing(card) as new_card:
        new_card.write_bytes(card_text(manifest, old_card).encode())
        new_manifest.write_bytes(encode_manifest(manifest))


def _copy(source: Path, folder: Path, manifest: Manifest) -> None:
    """Copy `source` to `folder`, completely or not at all."""
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        shutil.copytree(source, scratch)
        _write(scratch, manifest)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _replace_part(manifest: Manifest, folder: Path, name: str, model: RegisteredModel) -> Manifest:
    if getattr(manifest.engines, model.role) is None:
        members = ", ".join(str(folder / member) for member in manifest.members)
        hint = f"; its members have their own: {members}" if members else ""
        raise BundleError(f"{folder} has no {model.role} that {name} could replace{hint}")
    weights = [
        part for part in manifest.licences.weights.split("; ") if not part.startswith(model.role)
    ]
    weights.append(f"{model.role}: {model.licence}")
    # Results of the whole bundle were measured with the replaced part.
    valid = set(ROLES) - {"fusion", model.role}
    return structs.replace(
        model.put_into(manifest, name),
        format=FORMAT,
        name=f"{manifest.name.partition('+')[0]}+{name}",
        licences=structs.replace(manifest.licences, weights="; ".join(weights)),
        results=tuple(result for result in manifest.results if result.part in valid),
    )


def _check_fit(folder: Path, manifest: Manifest, name: str, role: str) -> None:
    """Open every engine and check the shapes. Raises `BundleError` when the model `name` does not fit."""
    with ExitStack() as stack:
        try:
            check_self_contained(part_path(folder, engine_parts(manifest)[role]))
            engines = {
                part_role: stack.enter_context(open_engine(part_path(folder, part)))
                for part_role, part in engine_parts(manifest).items()
            }
        except (BundleError, EngineError) as error:
            raise BundleError(f"{name} does not fit: {error}") from error
        for modality, encoder in ENCODER_ROLES.items():
            output = engines[encoder].outputs.get("embedding") if encoder == role else None
            head_input = engines["fusion"].inputs.get(modality)
            if output and head_input and output.shape[-1] != head_input.shape[-1]:
                raise BundleError(
                    f"{name} does not fit into {folder}: its embeddings have {output.shape[-1]} numbers, "
                    f"the head takes {head_input.shape[-1]}: train a head on {name} and export that"
                )
        try:
            check_graphs(folder, manifest, engines)
        except BundleError as error:
            raise BundleError(f"{name} does not fit: {error}") from error
