"""Reads the folder of a bundle: its manifest, the hash of every file, and its members."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import structs

from affectstream.engines.bundle.external_weights import has_external_weights
from affectstream.engines.cache.digest import sha256
from affectstream.engines.errors import BundleError
from affectstream.engines.labels import EMOTIONS
from affectstream.engines.manifest import FORMAT, ROLES, FilePart, Manifest
from affectstream.engines.models.registry import part_path

MANIFEST = "bundle.json"
POCKET = Path(__file__).parents[1] / "pocket"
_MIN_MEMBERS = 2


def find_bundle(bundle: str | Path) -> Path:
    """The folder of `bundle`: ``pocket``, or a path to a folder with a `bundle.json`."""
    folder = POCKET if str(bundle) == "pocket" else Path(bundle)
    if not _holds(folder.is_dir):
        raise BundleError(
            f"bundle {str(bundle)!r} not found: expected 'pocket' or a bundle's folder"
        )
    if not _holds((folder / MANIFEST).is_file):
        raise BundleError(f"{folder} has no {MANIFEST}: it is not a bundle")
    return folder


def _holds(check: Callable[[], bool]) -> bool:
    """The result of `check`; False where the system does not accept the path, such as one too long."""
    try:
        return check()
    except OSError:
        return False


def read_manifest(folder: Path) -> Manifest:
    """Parse and check `bundle.json`, and the hash of each file that it names.

    `read_members` checks the members. Raises `BundleError`.
    """
    path = folder / MANIFEST
    try:
        raw = path.read_bytes()
        version = str(msgspec.json.decode(raw)["format"])
    except RecursionError as error:
        raise BundleError(f"{path} is not a bundle manifest: it is nested too deeply") from error
    except (OSError, ValueError, msgspec.DecodeError, TypeError, KeyError) as error:
        raise BundleError(f"{path} is not a bundle manifest: {error}") from error
    if re.fullmatch(r"\d{1,9}\.\d{1,9}", version) is None:
        raise BundleError(f"{path} has format {version!r}, expected numbers such as {FORMAT}")
    if _numbers(version)[0] > _numbers(FORMAT)[0]:
        raise BundleError(
            f"{path} has format {version}, this version reads up to {FORMAT}: upgrade affectstream"
        )
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.ValidationError as error:
        newer = _numbers(version) > _numbers(FORMAT)
        hint = (
            f"; its format {version} is newer than {FORMAT}: upgrade affectstream" if newer else ""
        )
        raise BundleError(f"{path}: {error}{hint}") from error
    for fault in _faults(manifest):
        raise BundleError(f"{path}: {fault}")
    for part in file_parts(manifest):
        _check_file(folder, part)
    for part in engine_parts(manifest).values():
        check_self_contained(part_path(folder, part))
    return manifest


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")
    return int(major), int(minor)


@dataclass(frozen=True, slots=True)
class Member:
    """A bundle inside another."""

    name: str
    folder: Path
    manifest: Manifest


def read_members(folder: Path, manifest: Manifest) -> tuple[Member, ...]:
    """The members of the bundle in `folder`, in the order of the manifest.

    Raises `BundleError` when a member is missing or damaged, and when members do not fit together.
    """
    members = []
    for name in manifest.members:
        member = folder / name
        if not _holds((member / MANIFEST).is_file):
            raise BundleError(
                f"{folder} names the member {name!r}, but {member} has no {MANIFEST}: restore or "
                "reinstall the bundle"
            )
        members.append(Member(name, member, read_manifest(member)))
    for fault in member_mismatches(manifest, members):
        raise BundleError(f"{folder / MANIFEST}: {fault}")
    return tuple(members)


def file_parts(manifest: Manifest) -> Iterator[FilePart]:
    """Every file that the manifest names."""
    yield from engine_parts(manifest).values()
    if manifest.engines.text_encoder is not None:
        yield manifest.engines.text_encoder.tokenizer


def engine_parts(manifest: Manifest) -> dict[str, FilePart]:
    """The graphs of a bundle by role, without those of its members."""
    parts = {role: getattr(manifest.engines, role) for role in ROLES}
    return {role: part for role, part in parts.items() if part is not None}


def engine_files(folder: Path, manifest: Manifest) -> dict[str, tuple[Path, FilePart]]:
    """The path and the part of every graph of the bundle in `folder`, by role or ``member/role``."""
    files: dict[str, tuple[Path, FilePart]] = {
        role: (part_path(folder, part), part) for role, part in engine_parts(manifest).items()
    }
    for member in read_members(folder, manifest):
        for role, file in engine_files(member.folder, member.manifest).items():
            files[f"{member.name}/{role}"] = file
    return files


def is_label(text: str) -> bool:
    """Whether a bundle may have this label: one of `EMOTIONS`, or another word in lower case."""
    return text in EMOTIONS or re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", text) is not None


def _faults(manifest: Manifest) -> Iterator[str]:
    """The faults of one manifest, one sentence each."""
    labels, prior = manifest.labels, manifest.calibration.prior
    if len(set(labels)) != len(labels):
        yield f"labels {list(labels)} contain a label twice"
    if refused := [label for label in labels if not is_label(label)]:
        yield f"labels {refused}: expected words of a-z, 0-9, _ and -, such as {EMOTIONS[0]}"
    if len(prior) != len(labels):
        yield f"{len(prior)} prior probabilities for {len(labels)} labels"
    if manifest.hop_us * manifest.frame_hz % 1_000_000:
        yield f"hop_us x frame_hz must be whole frames, found {manifest.hop_us} x {manifest.frame_hz}"
    if manifest.window_us % manifest.hop_us:
        yield f"window_us {manifest.window_us} is not a whole number of hops of {manifest.hop_us}"
    if len(set(manifest.metadata)) != len(manifest.metadata):
        yield f"metadata {list(manifest.metadata)} contains a name twice"
    yield from _member_faults(manifest) if manifest.members else _picture_faults(manifest)


def _picture_faults(manifest: Manifest) -> Iterator[str]:
    detector, crop = manifest.engines.face_detector, manifest.crop
    if manifest.engines.face_geometry is not None and detector is None:
        yield "a face_geometry needs a face_detector: it measures detected faces"
    if (manifest.engines.face_encoder is None) != (crop is None):
        yield "face_encoder and crop belong together: give both or none"
    if crop is None or crop.kind == "frame":
        if detector is not None:
            why = "without a face_encoder" if crop is None else "where the crop is the whole frame"
            yield f"a face_detector is not used {why}: leave it out"
    elif detector is None:
        yield f"a crop of a {crop.kind} needs a face_detector: they belong together"
    expected = 5 if crop is not None and crop.kind == "face" else 0
    if crop is not None and len(crop.template) != expected:
        yield (
            f"the crop template has {len(crop.template)} points, expected {expected} for a "
            f"{crop.kind}"
        )


def _member_faults(manifest: Manifest) -> Iterator[str]:
    if len(manifest.members) < _MIN_MEMBERS or len(set(manifest.members)) < len(manifest.members):
        yield (
            f"members {list(manifest.members)}: expected at least {_MIN_MEMBERS}, each named once"
        )
    if len(engine_parts(manifest)) > 1 or manifest.crop is not None or manifest.metadata:
        yield "a bundle of members has a fusion engine alone: crop, metadata and encoders are its members'"


def member_mismatches(manifest: Manifest, members: Sequence[Member]) -> Iterator[str]:
    """Why `members` cannot be used together in a bundle with this manifest, one sentence each."""
    for member in members:
        inside, name = member.manifest, f"member {member.name!r}"
        if inside.members:
            yield f"{name} has members itself: only one level can be nested"
        if inside.labels != manifest.labels:
            yield f"{name} has labels {list(inside.labels)}, expected {list(manifest.labels)}"
        if inside.hop_us != manifest.hop_us:
            yield f"{name} has hop_us {inside.hop_us}, expected {manifest.hop_us} as of the others"
        if inside.crop is not None and manifest.frame_hz % inside.frame_hz:
            yield (
                f"{name} has frame_hz {inside.frame_hz}: the bundle's {manifest.frame_hz} must be a "
                "multiple of it"
            )
    if members and (longest := max(m.manifest.window_us for m in members)) != manifest.window_us:
        yield f"window_us is {manifest.window_us}, expected the longest of the members': {longest}"
    seeing = [m for m in members if m.manifest.engines.face_detector is not None]
    for other in seeing[1:]:
        for role, words in (("face_detector", "detectors"), ("face_geometry", "geometry engines")):
            parts = [getattr(m.manifest.engines, role) for m in (seeing[0], other)]
            if _without_origin(parts[0]) != _without_origin(parts[1]):
                yield (
                    f"members {seeing[0].name!r} and {other.name!r} have different face {words}, "
                    "expected the same file with the same settings: tracks are shared"
                )


def check_self_contained(graph: Path) -> None:
    """Raise `BundleError` unless the ONNX file `graph` has all its weights inside."""
    try:
        external = has_external_weights(graph)
    except (OSError, ValueError) as error:
        raise BundleError(f"{graph} is not an ONNX graph, or is cut short: {error}") from error
    if external:
        raise BundleError(
            f"{graph} keeps weights in another file, which the manifest's SHA-256 does not cover: "
            "save the graph again with its weights inside"
        )


def _without_origin(part: FilePart | None) -> FilePart | None:
    return None if part is None else structs.replace(part, file="", model=msgspec.UNSET)


def _check_file(folder: Path, part: FilePart) -> None:
    path = part_path(folder, part)
    public = part.model is not msgspec.UNSET
    if not _holds(path.is_file):
        if public:
            raise BundleError(
                f"{folder} needs the public model {part.model}, which was not pulled yet: "
                f"affectstream engines pull {part.model}"
            )
        raise BundleError(
            f"{path} is missing: the manifest names it; restore or reinstall the bundle"
        )
    actual = sha256(path)
    if actual != part.sha256:
        advice = (
            f"fetch it again: affectstream engines pull {part.model}"
            if public
            else "restore or reinstall the bundle"
        )
        raise BundleError(
            f"{path} was changed: SHA-256 is {actual[:12]}..., the manifest says "
            f"{part.sha256[:12]}...; {advice}"
        )
