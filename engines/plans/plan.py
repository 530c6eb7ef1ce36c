"""A built plan on disk, what is known about it, and the key that it goes by."""

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
from affectstream.engines.plans.network import Types
from affectstream.engines.plans.target import Target
from affectstream.engines.spec import TensorSpec

RECIPE = 1
"""Raise it with any change of `build` that changes plans and is not in the options."""


class KeyFields(Struct, frozen=True):
    """Everything that decides what is in a plan."""

    recipe: int
    graph: str
    """SHA-256 of the ONNX file that was built, its types included."""
    weights: tuple[tuple[str, str], ...]
    """Name and SHA-256 of each file with weights beside it."""
    options: BuildOptions
    target: Target

    @property
    def digest(self) -> str:
        """SHA-256 of these fields in canonical JSON."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


def key_fields(graph: Path, options: BuildOptions, target: Target) -> KeyFields:
    """The key of the plan of `graph`. Raises `EngineError` where a file is missing."""
    weights = read_graph_file(graph).weights
    hashes = tuple((file.relative_to(graph.parent).as_posix(), sha256(file)) for file in weights)
    return KeyFields(RECIPE, sha256(graph), hashes, options, target)


class Tensor(Struct, frozen=True):
    """An input or output, as `TensorSpec` says it."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


def tensors(specs: Mapping[str, TensorSpec]) -> tuple[Tensor, ...]:
    """`specs`, to be written."""
    return tuple(Tensor(spec.name, spec.shape, spec.dtype.name) for spec in specs.values())


class Gate(Struct, frozen=True):
    """Whether the plan computes what its graph does."""

    state: Literal["passed", "failed", "not run"]
    reason: str
    """In words, such as the largest difference, or why it was not run."""
    layers: dict[str, int] = {}
    """Outputs by type of the layers that came out, where the runtime could be asked."""


class PlanMeta(Struct, frozen=True):
    """The file beside a plan."""

    name: str
    """Of the engine, such as ``face_encoder``."""
    key: str
    fields: KeyFields
    sha256: str
    bytes: int
    built: str
    """UTC, ISO 8601."""
    seconds: float
    types: Types
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    log: tuple[str, ...]
    gate: Gate = Gate("not run", "not yet")


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan in the cache."""

    path: Path
    meta: PlanMeta

    def read(self) -> bytes:
        """The plan, to be given to a runtime: from our own folder, and with the hash it was built with.

        Raises `PlanError` otherwise.
        """
        try:
            content = read_private(self.path)
        except OSError as error:
            raise PlanError(f"{self.path} cannot be read: {error}") from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.meta.sha256:
            raise PlanError(
                f"{self.path} was changed: SHA-256 is {found[:12]}..., it was built with "
                f"{self.meta.sha256[:12]}...; build it again"
            )
        return content

    @property
    def bytes(self) -> int:
        """How large it is."""
        return self.meta.bytes

    @property
    def last_used(self) -> datetime:
        """When it was built or last asked for: the time of its file."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)


def meta_path(plan: Path) -> Path:
    """The file beside `plan`."""
    return plan.with_suffix(".json")


def open_plan(path: Path) -> Plan:
    """The plan in `path`, not yet read. Raises `PlanError` where what is said about it is missing or
    not to be trusted."""
    beside = meta_path(path)
    try:
        meta = msgspec.json.decode(read_private(beside), type=PlanMeta)
    except FileNotFoundError as error:
        raise PlanError(f"{path} is not a plan of the cache: {beside.name} is missing") from error
    except (OSError, msgspec.DecodeError) as error:
        raise PlanError(f"{beside} cannot be read: {error}; build the plan again") from error
    if meta.key != meta.fields.digest:
        raise PlanError(
            f"{beside} was changed: its key is not that of what it lists; build it again"
        )
    return Plan(path, meta)
