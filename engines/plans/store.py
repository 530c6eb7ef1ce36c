"""The cache of built plans.

    plans/tensorrt-rtx-1.7.1.116/sm86-sm89/face_encoder-0123456789abcdef.plan, .json
    plans/quarantine/        unusable plans
    plans/locks/             one lock for each key: one process builds, the others wait

A plan fits one graph, one set of options, one version of the runtime and one kind of GPU. All of this is in
the key, so different plans never overwrite each other.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec
from filelock import FileLock
from msgspec import structs

from affectstream.engines.cache.eviction import delete_file, least_recently_used
from affectstream.engines.cache.home import home
from affectstream.engines.cache.secure_files import (
    check_private,
    make_private,
    read_private,
    write_private,
)
from affectstream.engines.errors import BuildError, PlanError
from affectstream.engines.plans.accuracy import check_plan
from affectstream.engines.plans.build import BuildOptions, BuiltPlan, Progress, build, graph_for
from affectstream.engines.plans.plan import (
    AccuracyCheck,
    KeyFields,
    Plan,
    PlanMeta,
    key_fields,
    meta_path,
    open_plan,
    tensors,
)
from affectstream.engines.plans.target import Target

_log = logging.getLogger(__name__)

LIMIT_BYTES = 8 << 30
"""Above this total size the least recently used plans are deleted."""
_QUARANTINED = 4
"""Unusable plans that are kept for inspection: the newest."""
_TIMING = "timing.cache"
_SHORT = 16
"""Digits of the key in a file name. The whole key is compared before a plan is used."""
_FILE_NAME = re.compile(rf"-([0-9a-f]{{{_SHORT}}})\.(?:plan|json)")


class Builder(Protocol):
    """The signature of `build`."""

    def __call__(
        self,
        graph: Path,
        options: BuildOptions,
        target: Target,
        *,
        name: str,
        timing: bytes,
        progress: Progress | None,
        stop: threading.Event | None,
    ) -> BuiltPlan:
        """Build a plan."""
        ...


Checker = Callable[[Plan, Path], AccuracyCheck]
"""Compares a plan with its ONNX file; `check_plan` is one."""


class PlanStore:
    """The plans in one folder. Several processes may use it at once."""

    def __init__(self, root: Path | None = None, *, limit_bytes: int = LIMIT_BYTES) -> None:
        """`root` is ``plans`` under `home()` by default; the first plan creates it."""
        self.root = home() / "plans" if root is None else root
        self._limit_bytes = limit_bytes

    def plan_for(
        self,
        source: Path,
        options: BuildOptions,
        target: Target,
        *,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
        build: Builder = build,
        check: Checker = check_plan,
    ) -> Plan:
        """The plan of the ONNX file `source`, from the cache or built now.

        A damaged plan goes into quarantine and is built again. Raises `BuildError` (see `build`), also when
        the new plan fails `check`, and `PlanError` when other users can write the cache or we cannot.
        """
        graph = graph_for(source, options.precision)
        key = key_fields(graph, options, target)
        folder = self._folder(target)
        path = folder / f"{source.stem}-{key.digest[:_SHORT]}.plan"
        with self._locked(key.digest[:_SHORT]):
            plan = self._find(path, key)
            if plan is not None:
                os.utime(path)
                return plan
            timing = folder / _TIMING
            timings = read_private(timing) if timing.exists() else b""
            built = build(
                graph,
                options,
                target,
                name=source.name,
                timing=timings,
                progress=progress,
                stop=stop,
            )
            if built.timing:
                write_private(timing, built.timing)
            plan = self._save(path, source, key, built, check)
        self.make_room(keep=path)
        return plan

    def find_usable(
        self, source: Path, options: BuildOptions, target: Target, capability: int
    ) -> Plan | None:
        """The most recently used plan that can replace the one of `options` and `target`, or None.

        It has the same graph, precision, runtime, version and platform, runs on `capability` (for TensorRT on
        the same GPU) and admits all shapes of the profiles. Level, workspace and further compute
        capabilities may differ.
        """
        requested = key_fields(graph_for(source, options.precision), options, target)
        for plan in self.plans():
            if _can_replace(plan.meta.fields, requested, capability):
                with suppress(FileNotFoundError):  # deleted meanwhile
                    os.utime(plan.path)
                    return plan
        return None

    def plans(self) -> list[Plan]:
        """Every valid plan, most recently used first."""
        plans = []
        for path in self._files("*.plan"):
            # `faults` reports invalid plans; others may have been deleted meanwhile.
            with suppress(PlanError, FileNotFoundError):
                plan = open_plan(path)
                plans.append((plan.last_used, plan))
        return [plan for _, plan in sorted(plans, key=lambda item: item[0], reverse=True)]

    def invalid(self) -> list[str]:
        """Why each invalid plan is not used, one sentence each."""
        reasons = []
        for path in self._files("*.plan"):
            try:
                open_plan(path)
            except PlanError as error:
                reasons.append(str(error))
        return reasons

    def faults(self) -> list[str]:
        """Why `plans` leaves plans out, and what is in quarantine, one sentence each."""
        faults = self.invalid()
        if quarantined := list(self._quarantine.glob("*.plan")):
            faults.append(
                f"{self._quarantine} holds {len(quarantined)} unusable plans, with the reason beside each"
            )
        return faults

    def quarantine(self, plan: Plan, reason: str) -> None:
        """Move an unusable plan into quarantine and write `reason` beside it.

        `plan_for` builds it again. If another process has moved or rebuilt it meanwhile, nothing happens.
        """
        with self._locked(plan.meta.key[:_SHORT]):
            try:
                current = open_plan(plan.path)
            except PlanError:  # gone; `plan_for` handles what is left
                return
            if current.meta.sha256 == plan.meta.sha256:
                self._move_to_quarantine(plan.path, reason)

    def _move_to_quarantine(self, plan: Path, reason: str) -> None:
        """The caller holds the plan's lock."""
        _log.warning("%s: moved to quarantine, to be built again: %s", plan, reason)
        make_private(self._quarantine)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        for path in (plan, meta_path(plan)):
            with suppress(FileNotFoundError):
                path.replace(self._quarantine / f"{plan.stem}-{stamp}{path.suffix}")
        write_private(self._quarantine / f"{plan.stem}-{stamp}.txt", f"{reason}\n".encode())
        notes = sorted(
            self._quarantine.glob("*.txt"), key=lambda note: note.stem.rpartition("-")[2]
        )
        for note in notes[:-_QUARANTINED]:
            for path in self._quarantine.glob(f"{note.stem}.*"):
                delete_file(path)

    def remove(self, plans: Iterable[Plan]) -> int:
        """Delete `plans`; returns the bytes that this freed."""
        freed = 0
        for plan in plans:
            with self._locked(plan.meta.key[:_SHORT]):
                freed += delete_file(plan.path) + delete_file(meta_path(plan.path))
        return freed

    def sweep(self) -> int:
        """Delete the quarantine, and all files that belong to no valid plan.

        Returns the bytes that this freed.
        """
        freed = sum(delete_file(path) for path in self._quarantine.glob("*"))
        for path in self._files("*"):
            if (match := _FILE_NAME.search(path.name)) is None:
                continue
            with self._locked(match[1]):
                try:
                    open_plan(path.with_suffix(".plan"))
                    valid = not path.name.startswith(".")
                except PlanError:
                    valid = False
                if not valid:
                    freed += delete_file(path)
        return freed

    def make_room(self, *, keep: Path | None = None) -> None:
        """Delete the least recently used plans above the size limit, except the one at `keep`."""
        surplus = [
            plan
            for plan in least_recently_used(self.plans(), self._limit_bytes)
            if plan.path != keep
        ]
        if surplus:
            self.sweep()
            self.remove(surplus)

    @property
    def _quarantine(self) -> Path:
        return self.root / "quarantine"

    def _files(self, pattern: str) -> list[Path]:
        """Files in the folders that hold plans; hidden ones only for the pattern ``*``."""
        if self.root.is_dir():
            check_private(self.root)
        files = (path for path in self.root.glob(f"*/*/{pattern}") if path.is_file())
        return sorted(path for path in files if pattern == "*" or not path.name.startswith("."))

    def _folder(self, target: Target) -> Path:
        version = self.root / f"{target.runtime}-{target.version}"
        for folder in (self.root, version, version / target.device):
            make_private(folder)
        return version / target.device

    def _locked(self, short: str) -> FileLock:
        locks = self.root / "locks"
        make_private(locks)
        return FileLock(locks / f"{short}.lock")

    def _find(self, path: Path, key: KeyFields) -> Plan | None:
        if not path.exists() and not meta_path(path).exists():
            return None
        try:
            plan = open_plan(path)
            if plan.meta.key != key.digest:
                raise PlanError(f"{path} was built for the key {plan.meta.key}, not {key.digest}")
            plan.read()
        except PlanError as error:
            self._move_to_quarantine(path, str(error))
            return None
        return plan

    def _save(
        self, path: Path, source: Path, key: KeyFields, built: BuiltPlan, check: Checker
    ) -> Plan:
        """Write the plan to a hidden file, and to `path` when it passes `check`."""
        meta = _meta(source, key, built)
        unchecked = path.with_name(f".{path.name}")
        try:
            write_private(unchecked, built.plan)
            accuracy = check(Plan(unchecked, meta), source)
            if accuracy.state == "failed":
                raise BuildError(
                    f"{source.name}: the plan was built, but does not compute what its graph computes: "
                    f"{accuracy.reason}; nothing was kept"
                )
            meta = structs.replace(meta, accuracy=accuracy)
            text = msgspec.json.format(msgspec.json.encode(meta), indent=2)
            unchecked.replace(path)
            write_private(meta_path(path), text + b"\n")
        finally:
            unchecked.unlink(missing_ok=True)
        return Plan(path, meta)


def _can_replace(plan: KeyFields, requested: KeyFields, capability: int) -> bool:
    return (
        (plan.recipe, plan.graph, plan.weights)
        == (requested.recipe, requested.graph, requested.weights)
        and plan.options.precision == requested.options.precision
        and structs.replace(plan.target, capabilities=())
        == structs.replace(requested.target, capabilities=())
        and capability in plan.target.capabilities
        and all(
            any(wide.holds(profile) for wide in plan.options.profiles)
            for profile in requested.options.profiles
        )
    )


def _meta(source: Path, key: KeyFields, built: BuiltPlan) -> PlanMeta:
    return PlanMeta(
        name=source.stem,
        key=key.digest,
        fields=key,
        sha256=hashlib.sha256(built.plan).hexdigest(),
        bytes=len(built.plan),
        built=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(built.seconds, 3),
        types=built.types,
        inputs=tensors(built.inputs),
        outputs=tensors(built.outputs),
        log=built.log,
    )
