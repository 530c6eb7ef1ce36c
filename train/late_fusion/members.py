"""The bundles that late fusion joins: found, checked, and remembered in a checkpoint."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from affectstream.engines.bundle.folder import (
    MANIFEST,
    Member,
    find_bundle,
    member_mismatches,
    read_manifest,
)
from affectstream.engines.bundle.training import recipe_file
from affectstream.engines.errors import BundleError
from affectstream.engines.manifest import FORMAT, Calibration, Engines, FilePart, Licenses, Manifest
from affectstream.stream.errors import OptionError
from affectstream.train.errors import RunError

LEAST = 2


@dataclass(frozen=True, slots=True)
class MemberRef:
    """A member as a checkpoint remembers it."""

    name: str
    """Name of its folder inside the fused bundle, and of its weight."""
    folder: str
    sha256: str
    """See `fingerprint`."""
    watches: bool

    @classmethod
    def of(cls, member: Member) -> MemberRef:
        """The reference to `member`."""
        folder, watches = member.folder, member.manifest.crop is not None
        return cls(member.name, str(folder), fingerprint(folder), watches)


def find_members(bundles: Sequence[str]) -> tuple[Member, ...]:
    """The members that `bundles` name (folders, or ``pocket``), in that order.

    Raises `OptionError` for fewer than two or one named twice, `BundleError` for a folder that is no bundle
    and for different labels, hops or face detectors.
    """
    folders = [find_bundle(bundle).resolve() for bundle in bundles]
    if len(folders) < LEAST:
        raise OptionError(
            f"--member: found {len(folders)} of them, expected {LEAST} bundles or more; give --member "
            "DIR for each"
        )
    if len(set(folders)) < len(folders):
        raise OptionError(f"--member: {' '.join(bundles)} name one bundle twice")
    members = tuple(
        Member(name, folder, read_manifest(folder))
        for name, folder in zip(_names(folders), folders, strict=True)
    )
    if not members[0].manifest.labels:
        raise BundleError(f"member {members[0].name!r} has no labels: only emotions can be fused")
    # Only labels, hops, frame rates and detectors of this manifest are compared; the rest is a placeholder.
    placeholder = FilePart("fusion.onnx", "0" * 64)
    manifest = fusion_manifest(members, "fused", placeholder, "", ())
    for mismatch in member_mismatches(manifest, members):
        raise BundleError(f"--member: {mismatch}")
    return members


def reopen(refs: Sequence[MemberRef]) -> tuple[Member, ...]:
    """The members that a checkpoint remembers. Raises `RunError` for one that is gone or has changed."""
    members = []
    for ref in refs:
        folder = Path(ref.folder)
        if not (folder / MANIFEST).is_file():
            raise RunError(
                f"member {ref.name!r} is not in {folder} any more: put it back, or train anew with "
                "--member where it is now"
            )
        if (found := fingerprint(folder)) != ref.sha256:
            raise RunError(
                f"member {ref.name!r} in {folder} was changed since the weights were learned: its "
                f"SHA-256 is {found[:12]}..., was {ref.sha256[:12]}...; restore it, or train anew"
            )
        members.append(Member(ref.name, folder, read_manifest(folder)))
    return tuple(members)


def fingerprint(folder: Path) -> str:
    """SHA-256 of a bundle's manifest, which holds the hashes of its engines, and of its `recipe.json`."""
    found = hashlib.sha256()
    for path in (folder / MANIFEST, recipe_file(folder)):
        if path.is_file():
            found.update(path.read_bytes())
        found.update(b"\0")
    return found.hexdigest()


def fusion_manifest(
    members: Sequence[Member], name: str, fusion: FilePart, data: str, prior: tuple[float, ...]
) -> Manifest:
    """The manifest of a bundle of `members`, before calibration; `data` is source and licence of the weights'
    training data, `prior` the shares of the labels in use."""
    manifests = [member.manifest for member in members]
    frame_rates = [m.frame_hz for m in manifests if m.crop is not None]
    weights = [f"{m.name}: {m.manifest.licences.weights}" for m in members]
    sources = [data, *(f"{m.name}: {m.manifest.licences.data}" for m in members)]
    return Manifest(
        format=FORMAT,
        name=name,
        version="0.1.0",
        summary=f"{' and '.join(m.name for m in members)}, joined by the recipe {name}.",
        labels=manifests[0].labels,
        window_us=max(m.window_us for m in manifests),
        hop_us=manifests[0].hop_us,
        frame_hz=math.lcm(*frame_rates) if frame_rates else manifests[0].frame_hz,
        engines=Engines(fusion=fusion),
        calibration=Calibration(prior, {}, {}),
        licences=Licenses(code="MIT", data="; ".join(sources), weights="; ".join(weights)),
        languages=tuple(sorted({language for m in manifests for language in m.languages})),
        members=tuple(member.name for member in members),
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, as far as a manifest allows their characters, made unique."""
    names: list[str] = []
    for number, folder in enumerate(folders, 1):
        name = re.sub(r"[^\w.-]", "_", folder.name, flags=re.ASCII).lstrip(".-") or "member"
        names.append(name if name not in names else f"{name}-{number}")
    return names
