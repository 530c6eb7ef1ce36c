"""Which plans a bundle needs: one for each engine, with ranges for axes that the manifest decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from affectstream.engines.bundle.folder import engine_files
from affectstream.engines.choose import parse_device
from affectstream.engines.errors import UsageError
from affectstream.engines.fp16 import FP32_ROLES
from affectstream.engines.manifest import DetectorPart, Manifest
from affectstream.engines.plans.build import BuildOptions
from affectstream.engines.plans.graph_file import read_graph_file
from affectstream.engines.plans.profiles import BATCH, AxisRange

_CELL = 32
"""Pictures are whole cells of the detector's coarsest grid."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """One engine of a bundle, and how its plan is to be built."""

    role: str
    source: Path
    options: BuildOptions


def plan_requests(
    folder: Path, manifest: Manifest, options: BuildOptions, roles: Iterable[str] = ()
) -> list[PlanRequest]:
    """The plans of `roles`, or of every engine, of the bundle in `folder`; a member's are ``member/role``.

    `options` hold for all, but `FP32_ROLES` are built in FP32; where a profile gives no range for the
    height and the width of a detector's picture, these go up to what the manifest lets it see. Raises
    `UsageError` for a role that the bundle does not have.
    """
    files = engine_files(folder, manifest)
    if unknown := sorted(set(roles) - files.keys()):
        raise UsageError(
            f"bundle {manifest.name} has no {', '.join(unknown)}: its engines are {', '.join(files)}"
        )
    found = []
    for role in [role for role in files if role in roles] or list(files):
        (source, part), mine = files[role], options
        if isinstance(part, DetectorPart):
            sides = _picture(source, part)
            profiles = tuple(profile.with_defaults(sides) for profile in options.profiles)
            mine = structs.replace(options, profiles=profiles)
        if role.rpartition("/")[2] in FP32_ROLES:
            mine = structs.replace(mine, precision="fp32")
        found.append(PlanRequest(role, source, mine))
    return found


def build_options(folder: Path, manifest: Manifest, device: str) -> dict[str, BuildOptions]:
    """How plans of a bundle's engines are built, by role; nothing where `device` takes no plans."""
    if parse_device(device).kind not in ("tensorrt", "tensorrt-rtx"):
        return {}
    return {one.role: one.options for one in plan_requests(folder, manifest, BuildOptions())}


def _picture(source: Path, detector: DetectorPart) -> list[AxisRange]:
    """Ranges for the free sides of a detector's picture, tuned for a 16:9 one."""
    side = _cells(detector.input_size)
    best = {"height": _cells(detector.input_size * 9 // 16), "width": side}
    first = 1 if detector.layout == "nhwc" else 2
    pictures = [shape for shape in read_graph_file(source).inputs.values() if len(shape) == 4]
    return [
        AxisRange(str(shape[axis]), _CELL, best[name], side)
        for shape in pictures
        for axis, name in ((first, "height"), (first + 1, "width"))
        if isinstance(shape[axis], str) and shape[axis] != BATCH
    ]


def _cells(size: int) -> int:
    return -(-size // _CELL) * _CELL
