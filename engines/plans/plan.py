"""A plan on disk: its content, its metadata and its key."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from affectstream.engines.cache.digest import sha256
from affectstream.engines.cache.secure_files import read_private
from affectstream.engines.errors import PlanError
from affectstream.engines.plans.build import BuildOptions
from affectstream.engines.plans.graph_file import read_graph_file
from affectstream.engines.plans.network import LayerTypes
from affectstream.engines.plans.target import Target
from affectstream.engines.spec import TensorSpec

RECIPE = 1
"""Part of every key: raise it with any change of `build` that changes plans and is not an option."""


class KeyFields(Struct, frozen=True):
    """Everything that determines the content of a plan."""

    recipe: int
    graph: str
    """SHA-256 of the ONNX file that was built, in its final precision."""
    weights: tuple[tuple[str, str], ...]
    """Name and SHA-256 of each weight file beside it."""
    options: BuildOptions
    target: Target

    @property
    def digest(self) -> str:
        """SHA-256 of these fields in canonical JSON."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


def key_fields(graph: Path, options: BuildOptions, target: Target) -> KeyFields:
    """The key of the plan of `graph`. Raises `EngineError` when a file is missing."""
    weights = read_graph_file(graph).weights
    hashes = tuple((file.relative_to(graph.parent).as_posix(), sha256(file)) for file in weights)
    return KeyFields(RECIPE, sha256(graph), hashes, options, target)


class Tensor(Struct, frozen=True):
    """An input or output: `TensorSpec` as it is written to the metadata."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


def tensors(specs: Mapping[str, TensorSpec]) -> tuple[Tensor, ...]:
    """`specs` in the form in which they are written."""
    return tuple(Tensor(spec.name, spec.shape, spec.dtype.name) for spec in specs.values())


class AccuracyCheck(Struct, frozen=True):
    """Whether the plan computes what its graph computes."""

    state: Literal["passed", "failed", "not run"]
    reason: str
    """Such as the largest error, or why the check was not run."""
    layers: dict[str, int] = {}
    """Number of layer outputs of the plan by type (see `layer_types`); empty if no GPU was there."""


class PlanMeta(Struct, frozen=True, rename={"accuracy": "gate"}):
    """The metadata of a plan, in the ``.json`` file beside it."""

    name: str
    """Name of the engine, such as ``face_encoder``."""
    key: str
    fields: KeyFields
    sha256: str
    bytes: int
    built: str
    """UTC, ISO 8601."""
    seconds: float
    types: LayerTypes
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    log: tuple[str, ...]
    accuracy: AccuracyCheck = AccuracyCheck("not run", "not yet")


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan in the cache."""

    path: Path
    meta: PlanMeta

    def read(self) -> bytes:
        """The content of the plan.

        Raises `PlanError` when other users can write it, or when its hash is not that of the plan that was
        built.
        """
        try:
            content = read_private(self.path)
        except OSError as error:
            raise PlanError(f"{self.path} cannot be read: {error}") from error
        actual = hashlib.sha256(content).hexdigest()
        if actual != self.meta.sha256:
            raise PlanError(
                f"{self.path} was changed: SHA-256 is {actual[:12]}..., it was built with "
                f"{self.meta.sha256[:12]}...; build it again"
            )
        return content

    @property
    def bytes(self) -> int:
        """Size of the plan."""
        return self.meta.bytes

    @property
    def last_used(self) -> datetime:
        """When the plan was built or last used: the time of its file."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)


def meta_path(plan: Path) -> Path:
    """The metadata file of `plan`."""
    return plan.with_suffix(".json")


def open_plan(path: Path) -> Plan:
    """The plan in `path`, whose content is not read yet.

    Raises `PlanError` when its metadata is missing, damaged or writable by others.
    """
    beside = meta_path(path)
    try:
        meta = msgspec.json.decode(read_private(beside), type=PlanMeta)
    except FileNotFoundError as error:
        raise PlanError(f"{path} is not a plan of the cache: {beside.name} is missing") from error
    except (OSError, msgspec.DecodeError) as error:
        raise PlanError(f"{beside} cannot be read: {error}; build the plan again") from error
    if meta.key != meta.fields.digest:
        raise PlanError(f"{beside} was changed: its key does not match its fields; build it again")
    return Plan(path, meta)
