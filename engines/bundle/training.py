"""The optional folder `training/` of a bundle: recipes and weights that its engines were exported from.

Serving does not read it. Each part is a `recipe.json` and a `weights.safetensors`: in `training/` itself if
one network gave the whole bundle, else in a sub-folder for each network. A part names the SHA-256 of the
engines that it gave; if the bundle has another engine in that place, the part does not belong to it any more.
Bundles that are older than this folder have both files beside `bundle.json`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from affectstream.engines.bundle.folder import engine_parts
from affectstream.engines.bundle.taught import copy_taught
from affectstream.engines.cache.digest import sha256
from affectstream.engines.errors import BundleError
from affectstream.engines.manifest import Manifest, PlainName, Role, Sha256

TRAINING = "training"
RECIPE, WEIGHTS = "recipe.json", "weights.safetensors"


class _Ties(Struct, frozen=True):
    """The files that belong to a `recipe.json`; its other keys are for `train`."""

    recipe: PlainName
    """The name of a folder too, see `copy_training`."""
    engines: dict[Role, Sha256] = {}
    weights_sha256: Sha256 | None = None


@dataclass(frozen=True, slots=True)
class TrainingPart:
    """One network of a bundle's `training/`."""

    folder: Path
    recipe: str
    engines: Mapping[Role, str]
    """SHA-256 of the engines of the bundle that were exported from it."""
    is_whole: bool
    """Whether the bundle still has all engines that were exported from it."""
    weights_sha256: str | None
    """None if its weights were left out."""

    def __str__(self) -> str:
        what = ", ".join(self.engines) or "the whole bundle"
        weights = "" if self.weights_sha256 else ", without weights"
        return f"{self.recipe} ({what}{weights})"

    @property
    def weights(self) -> Path:
        """The file of its weights, which may be missing if they were left out."""
        return self.folder / WEIGHTS

    def check(self) -> None:
        """Raise `BundleError` unless the weights are there, unchanged."""
        if self.weights_sha256 is None:
            return
        if not self.weights.is_file():
            raise BundleError(
                f"{self.weights} is missing: {RECIPE} beside it names it; restore it, or delete {self.folder}"
            )
        if (found := sha256(self.weights)) != self.weights_sha256:
            raise BundleError(
                f"{self.weights} was changed: SHA-256 is {found[:12]}..., {RECIPE} says "
                f"{self.weights_sha256[:12]}...; restore it, or delete {self.folder}"
            )


def recipe_file(folder: Path) -> Path:
    """Where the recipe of the bundle in `folder` is, if one network gave all of it; it may be missing."""
    inside = folder / TRAINING / RECIPE
    return inside if inside.is_file() else folder / RECIPE


def training_folders(folder: Path) -> list[Path]:
    """The folders of the parts of the bundle in `folder`, none if it has no `training/`."""
    root = folder / TRAINING
    if (root / RECIPE).is_file():
        return [root]
    return sorted(path.parent for path in root.glob(f"*/{RECIPE}"))


def training_parts(folder: Path, manifest: Manifest) -> list[TrainingPart]:
    """The parts whose engines the bundle in `folder` still has, without those of its members.

    Does not read the weights, see `TrainingPart.check`. Raises `BundleError` for a `recipe.json` that cannot
    be read.
    """
    own = {role: part.sha256 for role, part in engine_parts(manifest).items()}
    found = []
    for place in training_folders(folder):
        ties = _read(place / RECIPE)
        engines = {role: digest for role, digest in ties.engines.items() if own.get(role) == digest}
        if engines or not ties.engines:
            whole = engines == ties.engines
            found.append(TrainingPart(place, ties.recipe, engines, whole, ties.weights_sha256))
    return found


def _read(path: Path) -> _Ties:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Ties)
    except (OSError, msgspec.DecodeError) as error:
        raise BundleError(f"{path} cannot be read: {error}; restore it, or delete it") from error


def check_training(folder: Path, manifest: Manifest) -> list[TrainingPart]:
    """`training_parts`, with their weights checked. Raises as `training_parts` and `TrainingPart.check`."""
    parts = training_parts(folder, manifest)
    for part in parts:
        part.check()
    return parts


def copy_training(
    source: Path, before: Manifest, folder: Path, manifest: Manifest, *, weights: bool = True
) -> None:
    """Copy the parts of the bundle in `source` that the bundle in `folder`, with `manifest`, still has, and
    what its `taught.json` says.

    Without `weights` they say only what trained their engines. A part of `training/` itself stays there if
    the new bundle has all engines that were exported from it; any other goes into a sub-folder, under a name
    that is free. Raises `BundleError` as `training_parts`, `OSError` if the disk refuses.
    """
    own = {role: part.sha256 for role, part in engine_parts(manifest).items()}
    for part in training_parts(source, before):
        kept = {role: digest for role, digest in part.engines.items() if own.get(role) == digest}
        if part.engines and not kept:
            continue
        root = folder / TRAINING
        inside = part.folder.parent.name == TRAINING
        target = root
        if inside or not part.is_whole or kept != part.engines:
            target = free_part(root, part.folder.name if inside else part.recipe)
        target.mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = msgspec.json.decode((part.folder / RECIPE).read_bytes())
        if not weights:
            content.pop("weights_sha256", None)
        write_recipe(content, kept, target)
        if weights and part.weights.is_file():
            shutil.copyfile(part.weights, target / WEIGHTS)
    copy_taught(source, folder)


def free_part(root: Path, name: str) -> Path:
    """A folder in `root` that does not exist yet: `name`, else ``name-2`` and so on."""
    paths = (root / f"{name}-{number}" if number > 1 else root / name for number in count(1))
    return next(path for path in paths if not path.exists())


def write_recipe(content: Mapping[str, Any], engines: Mapping[Role, str], folder: Path) -> None:
    """Write `recipe.json` into the `folder` of a part that gave `engines`, by role with their SHA-256."""
    text = msgspec.json.format(msgspec.json.encode({**content, "engines": engines}), indent=2)
    (folder / RECIPE).write_bytes(text + b"\n")
