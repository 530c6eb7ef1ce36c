"""The bundles that late fusion joins: found, known by their hash, and fit to be read together."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from affectstream.engines.bundle.folder import MANIFEST, Member, locate, mismatches, read_manifest
from affectstream.engines.errors import BundleError
from affectstream.engines.manifest import (
    FORMAT,
    Calibration,
    Engines,
    FilePart,
    Licences,
    Manifest,
    Measured,
)
from affectstream.stream.errors import OptionError
from affectstream.train.errors import RunError
from affectstream.train.fit.warm_start import RECIPE

LEAST = 2


@dataclass(frozen=True, slots=True)
class Part:
    """A member as a checkpoint remembers it."""

    name: str
    """Of its folder inside the bundle, and of its weight."""
    folder: str
    sha256: str
    """See `identity`."""
    watches: bool
    """Whether it is shown pictures."""


def find(bundles: Sequence[str]) -> tuple[Member, ...]:
    """The members that `bundles` name (folders, or ``pocket``), in that order.

    Raises `OptionError` for fewer than two or one named twice, `BundleError` for what is no bundle or does
    not go with the others: all need the same labels in one order, one hop and one face detector.
    """
    folders = [locate(bundle).resolve() for bundle in bundles]
    if len(folders) < LEAST:
        raise OptionError(
            f"--member: found {len(folders)} of them, expected {LEAST} bundles or more; give --member "
            "DIR for each"
        )
    if len(set(folders)) < len(folders):
        raise OptionError(f"--member: {' '.join(bundles)} name one bundle twice")
    names = _names(folders)
    members = tuple(
        Member(name, folder, read_manifest(folder))
        for name, folder in zip(names, folders, strict=True)
    )
    check(members)
    return members


def check(members: Sequence[Member]) -> None:
    """Raise `BundleError` for members that cannot be read together."""
    if not members[0].manifest.labels:
        raise BundleError(f"member {members[0].name!r} has no labels: only emotions can be fused")
    # Most of a joint manifest is of no account here: what is judged are labels, hops, grids, detectors.
    no_part = FilePart("fusion.onnx", "0" * 64)
    for fault in mismatches(joint(members, "fused", no_part, Calibration((), {}, {}), ""), members):
        raise BundleError(f"--member: {fault}")


def known(members: Sequence[Member]) -> tuple[Part, ...]:
    """What a checkpoint keeps of `members`."""
    return tuple(
        Part(m.name, str(m.folder), identity(m.folder), m.manifest.crop is not None)
        for m in members
    )


def again(parts: Sequence[Part]) -> tuple[Member, ...]:
    """The members that a checkpoint remembers. Raises `RunError` for one that is gone or was changed."""
    members = []
    for part in parts:
        folder = Path(part.folder)
        if not (folder / MANIFEST).is_file():
            raise RunError(
                f"member {part.name!r} is not in {folder} any more: put it back, or train anew with "
                "--member where it is now"
            )
        if (found := identity(folder)) != part.sha256:
            raise RunError(
                f"member {part.name!r} in {folder} was changed since the weights were learned: its "
                f"SHA-256 is {found[:12]}..., was {part.sha256[:12]}...; restore it, or train anew"
            )
        members.append(Member(part.name, folder, read_manifest(folder)))
    return tuple(members)


def identity(folder: Path) -> str:
    """SHA-256 over the manifest of a bundle, which has those of its engines, and over what its network
    was shown."""
    found = hashlib.sha256()
    for name in (MANIFEST, RECIPE):
        if (folder / name).is_file():
            found.update((folder / name).read_bytes())
        found.update(b"\0")
    return found.hexdigest()


def joint(
    members: Sequence[Member],
    name: str,
    fusion: FilePart,
    calibration: Calibration,
    data: str,
    results: tuple[Measured, ...] = (),
) -> Manifest:
    """The manifest of a bundle of `members`; `data` names licence and source of what its weights were
    learned from."""
    manifests = [member.manifest for member in members]
    grids = [m.frame_hz for m in manifests if m.crop is not None]
    rules = [f"{m.name}: {m.manifest.licences.weights}" for m in members]
    sources = [data, *(f"{m.name}: {m.manifest.licences.data}" for m in members)]
    return Manifest(
        format=FORMAT,
        name=name,
        version="0.1.0",
        summary=f"{' and '.join(m.name for m in members)}, joined by the recipe {name}.",
        labels=manifests[0].labels,
        window_us=max(m.window_us for m in manifests),
        hop_us=manifests[0].hop_us,
        frame_hz=math.lcm(*grids) if grids else manifests[0].frame_hz,
        engines=Engines(fusion=fusion),
        calibration=calibration,
        licences=Licences(code="MIT", data="; ".join(sources), weights="; ".join(rules)),
        languages=tuple(sorted({language for m in manifests for language in m.languages})),
        members=tuple(member.name for member in members),
        results=results,
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """Their own, as far as a manifest takes them, and each once."""
    names: list[str] = []
    for number, folder in enumerate(folders, 1):
        name = re.sub(r"[^\w.-]", "_", folder.name, flags=re.ASCII).lstrip(".-") or "member"
        names.append(name if name not in names else f"{name}-{number}")
    return names
