"""The plans that a bundle needs: one for each engine, with the axis ranges that its manifest implies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from affectstream.engines.bundle.folder import engine_files
from affectstream.engines.devices.choose import parse_device
from affectstream.engines.errors import UsageError
from affectstream.engines.fp16.precision import FP32_ROLES
from affectstream.engines.manifest import DetectorPart, Manifest
from affectstream.engines.plans.build import BuildOptions
from affectstream.engines.plans.graph_file import read_graph_file
from affectstream.engines.plans.profiles import BATCH, AxisRange

_CELL = 32
"""The sides of a detector's picture are multiples of this: the cell of its coarsest grid, in pixels."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """One engine of a bundle, and the options for its plan."""

    role: str
    source: Path
    options: BuildOptions


def plan_requests(
    folder: Path, manifest: Manifest, options: BuildOptions, roles: Iterable[str] = ()
) -> list[PlanRequest]:
    """The plans of `roles`, or of all engines, of the bundle in `folder`; a member's role is ``member/role``.

    All have `options`, except that `FP32_ROLES` are FP32. If a profile has no range for the sides of a
    detector's picture, they go up to the `input_size` of the manifest. Raises `UsageError` for a role that
    the bundle does not have.
    """
    files = engine_files(folder, manifest)
    if unknown := sorted(set(roles) - files.keys()):
        raise UsageError(
            f"bundle {manifest.name} has no {', '.join(unknown)}: its engines are {', '.join(files)}"
        )
    requests = []
    for role in [role for role in files if role in roles] or list(files):
        (source, part), own = files[role], options
        if isinstance(part, DetectorPart):
            sides = _picture_sides(source, part)
            profiles = tuple(profile.with_defaults(sides) for profile in options.profiles)
            own = structs.replace(options, profiles=profiles)
        if role.rpartition("/")[2] in FP32_ROLES:
            own = structs.replace(own, precision="fp32")
        requests.append(PlanRequest(role, source, own))
    return requests


def build_options(folder: Path, manifest: Manifest, device: str) -> dict[str, BuildOptions]:
    """The options for the plans of a bundle, by role; empty if `device` uses no plans."""
    if parse_device(device).kind not in ("tensorrt", "tensorrt-rtx"):
        return {}
    requests = plan_requests(folder, manifest, BuildOptions())
    return {request.role: request.options for request in requests}


def _picture_sides(source: Path, detector: DetectorPart) -> list[AxisRange]:
    """Ranges for the free sides of a detector's picture, tuned for 16:9."""
    side = _round_up(detector.input_size)
    best = {"height": _round_up(detector.input_size * 9 // 16), "width": side}
    first = 1 if detector.layout == "nhwc" else 2
    pictures = [shape for shape in read_graph_file(source).inputs.values() if len(shape) == 4]
    return [
        AxisRange(str(shape[axis]), _CELL, best[name], side)
        for shape in pictures
        for axis, name in ((first, "height"), (first + 1, "width"))
        if isinstance(shape[axis], str) and shape[axis] != BATCH
    ]


def _round_up(size: int) -> int:
    return -(-size // _CELL) * _CELL
