"""The cache of built plans.

    plans/tensorrt-rtx-1.7.1.116/sm86-sm89/face_encoder-0123456789abcdef.plan, .json
    plans/quarantine/        what turned out to be unusable
    plans/locks/             one for each key: one process builds, the others wait for it

A plan is good for one graph, one set of options, one version of the runtime and one kind of GPU; all of
it is in the key, so nothing is ever overwritten by something else.
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

from affectstream.engines.cache.home import home
from affectstream.engines.cache.lru import least_recently_used
from affectstream.engines.cache.secure_files import (
    check_private,
    make_private,
    read_private,
    write_private,
)
from affectstream.engines.errors import BuildError, PlanError
from affectstream.engines.plans.build import BuildOptions, Built, Progress, build, graph_of
from affectstream.engines.plans.gate import check_plan
from affectstream.engines.plans.plan import (
    Gate,
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
"""Plans that were not used for longest go when all are larger than this."""
_SET_ASIDE = 4
"""Unusable plans that are kept to be looked at; the oldest go."""
_TIMING = "timing.cache"
_SHORT = 16
"""Digits of the key in a file's name; the whole key is compared before a plan is used."""
_NAMED = re.compile(rf"-([0-9a-f]{{{_SHORT}}})\.(?:plan|json)")


class Builder(Protocol):
    """Builds a plan; `build` is the one."""

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
    ) -> Built:
        """See `build`."""
        ...


Check = Callable[[Plan, Path], Gate]
"""Compares a plan with the graph that it comes from."""


class PlanStore:
    """The plans under one folder. Several processes may use it at once."""

    def __init__(self, root: Path | None = None, *, limit_bytes: int = LIMIT_BYTES) -> None:
        """`root` is ``plans`` under `home()` unless given; it is made when the first plan is."""
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
        check: Check = check_plan,
    ) -> Plan:
        """The plan of the ONNX file `source`, built now unless it is here.

        A plan here that is not what was built goes into quarantine and is built again. Raises
        `BuildError` (see `build`; also where the plan computes something else than its graph) and
        `PlanError` where the cache is not ours alone or cannot be written.
        """
        graph = graph_of(source, options.precision)
        key = key_fields(graph, options, target)
        folder = self._folder(target)
        path = folder / f"{source.stem}-{key.digest[:_SHORT]}.plan"
        with self._locked(key.digest[:_SHORT]):
            plan = self._found(path, key)
            if plan is not None:
                os.utime(path)
                return plan
            timing = folder / _TIMING
            known = read_private(timing) if timing.exists() else b""
            built = build(
                graph,
                options,
                target,
                name=source.name,
                timing=known,
                progress=progress,
                stop=stop,
            )
            if built.timing:
                write_private(timing, built.timing)
            plan = self._keep(path, source, key, built, check)
        self.make_room(keep=path)
        return plan

    def serving(
        self, source: Path, options: BuildOptions, target: Target, capability: int
    ) -> Plan | None:
        """A plan here that does what the one of `options` and `target` would, the last used first.

        It is of the same graph, precision, runtime, version and platform, runs on `capability`, for
        TensorRT on the same GPU, and has room for all of the profiles. Level, workspace and further
        compute capabilities may differ. None where there is no such plan.
        """
        asked = key_fields(graph_of(source, options.precision), options, target)
        for plan in self.plans():
            if _serves(plan.meta.fields, asked, capability):
                with suppress(FileNotFoundError):  # deleted by now
                    os.utime(plan.path)
                    return plan
        return None

    def plans(self) -> list[Plan]:
        """Every plan that can be trusted, the last used first."""
        found = []
        for path in self._files("*.plan"):
            try:
                plan = open_plan(path)
                found.append((plan.last_used, plan))
            except (PlanError, FileNotFoundError):  # `faults` tells of it; or it is gone by now
                continue
        return [plan for _, plan in sorted(found, key=lambda item: item[0], reverse=True)]

    def refused(self) -> list[str]:
        """What is wrong with plans that are not trusted, one sentence each."""
        refused = []
        for path in self._files("*.plan"):
            try:
                open_plan(path)
            except PlanError as error:
                refused.append(str(error))
        return refused

    def faults(self) -> list[str]:
        """What is wrong with the files that `plans` leaves out, one sentence each."""
        faults = self.refused()
        if set_aside := list(self._quarantine.glob("*.plan")):
            faults.append(
                f"{self._quarantine} holds {len(set_aside)} unusable plans, with the reason beside each"
            )
        return faults

    def quarantine(self, plan: Plan, reason: str) -> None:
        """Set aside a plan that cannot be used, such as one that a runtime refused: it is built again
        when next asked for. `reason` is written beside it. Nothing happens where another process has
        done it, or built the plan anew, since `plan` was found."""
        with self._locked(plan.meta.key[:_SHORT]):
            try:
                now = open_plan(plan.path)
            except PlanError:  # gone; whatever is left is dealt with when the plan is asked for
                return
            if now.meta.sha256 == plan.meta.sha256:
                self._set_aside(plan.path, reason)

    def _set_aside(self, plan: Path, reason: str) -> None:
        """To be called with the plan's lock."""
        _log.warning("%s: set aside, to be built again: %s", plan, reason)
        make_private(self._quarantine)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        for path in (plan, meta_path(plan)):
            with suppress(FileNotFoundError):
                path.replace(self._quarantine / f"{plan.stem}-{stamp}{path.suffix}")
        write_private(self._quarantine / f"{plan.stem}-{stamp}.txt", f"{reason}\n".encode())
        notes = sorted(
            self._quarantine.glob("*.txt"), key=lambda note: note.stem.rpartition("-")[2]
        )
        for note in notes[:-_SET_ASIDE]:
            for path in self._quarantine.glob(f"{note.stem}.*"):
                _unlink(path)

    def remove(self, plans: Iterable[Plan]) -> int:
        """Delete `plans`; the number of bytes that this freed. One that is gone already frees none."""
        freed = 0
        for plan in plans:
            with self._locked(plan.meta.key[:_SHORT]):
                freed += _unlink(plan.path) + _unlink(meta_path(plan.path))
        return freed

    def sweep(self) -> int:
        """Delete the quarantine and whatever is no plan, such as what a process that was killed left
        behind; the number of bytes that this freed."""
        freed = sum(_unlink(path) for path in self._quarantine.glob("*"))
        for path in self._files("*"):
            if (found := _NAMED.search(path.name)) is None:
                continue
            with self._locked(found[1]):
                try:
                    open_plan(path.with_suffix(".plan"))
                    whole = not path.name.startswith(".")
                except PlanError:
                    whole = False
                if not whole:
                    freed += _unlink(path)
        return freed

    def make_room(self, *, keep: Path | None = None) -> None:
        """Go back to the size limit: what was not used for longest goes, but for `keep`."""
        going = [
            plan
            for plan in least_recently_used(self.plans(), self._limit_bytes)
            if plan.path != keep
        ]
        if going:
            self.sweep()
            self.remove(going)

    @property
    def _quarantine(self) -> Path:
        return self.root / "quarantine"

    def _files(self, pattern: str) -> list[Path]:
        """Files in the folders of plans."""
        if self.root.is_dir():
            check_private(self.root)
        shown = (path for path in self.root.glob(f"*/*/{pattern}") if path.is_file())
        return sorted(path for path in shown if pattern == "*" or not path.name.startswith("."))

    def _folder(self, target: Target) -> Path:
        version = self.root / f"{target.runtime}-{target.version}"
        for folder in (self.root, version, version / target.device):
            make_private(folder)
        return version / target.device

    def _locked(self, short: str) -> FileLock:
        locks = self.root / "locks"
        make_private(locks)
        return FileLock(locks / f"{short}.lock")

    def _found(self, path: Path, key: KeyFields) -> Plan | None:
        if not path.exists() and not meta_path(path).exists():
            return None
        try:
            plan = open_plan(path)
            if plan.meta.key != key.digest:
                raise PlanError(f"{path} was built for the key {plan.meta.key}, not {key.digest}")
            plan.read()
        except PlanError as error:
            self._set_aside(path, str(error))
            return None
        return plan

    def _keep(self, path: Path, source: Path, key: KeyFields, built: Built, check: Check) -> Plan:
        """Write the plan where only `check` looks, then, when that passes, where all look."""
        meta = _meta(source, key, built)
        unchecked = path.with_name(f".{path.name}")
        try:
            write_private(unchecked, built.plan)
            gate = check(Plan(unchecked, meta), source)
            if gate.state == "failed":
                raise BuildError(
                    f"{source.name}: the plan was built, but is not what its graph is: {gate.reason}; "
                    "nothing was kept of it"
                )
            meta = msgspec.structs.replace(meta, gate=gate)
            text = msgspec.json.format(msgspec.json.encode(meta), indent=2)
            unchecked.replace(path)
            write_private(meta_path(path), text + b"\n")
        finally:
            unchecked.unlink(missing_ok=True)
        return Plan(path, meta)


def _serves(built: KeyFields, asked: KeyFields, capability: int) -> bool:
    here, there = asked.target, built.target
    return (
        (built.recipe, built.graph, built.weights) == (asked.recipe, asked.graph, asked.weights)
        and built.options.precision == asked.options.precision
        and (there.runtime, there.version) == (here.runtime, here.version)
        and (there.platform, there.gpu) == (here.platform, here.gpu)
        and capability in there.capabilities
        and all(
            any(wide.holds(profile) for wide in built.options.profiles)
            for profile in asked.options.profiles
        )
    )


def _meta(source: Path, key: KeyFields, built: Built) -> PlanMeta:
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


def _unlink(path: Path) -> int:
    """Delete a file; the bytes that this freed, none where it was gone."""
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    return size
