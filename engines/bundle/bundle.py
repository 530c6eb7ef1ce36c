"""Opens a bundle. Every hash, name and shape is checked first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from affectstream.engines.bundle.bundle_plans import build_options
from affectstream.engines.bundle.folder import (
    engine_parts,
    find_bundle,
    read_manifest,
    read_members,
)
from affectstream.engines.bundle.shapes import (
    HeadOutput,
    check_graphs,
    check_member_fusion,
    head_output_shapes,
)
from affectstream.engines.devices.open import open_engine
from affectstream.engines.errors import BundleError, EngineError
from affectstream.engines.fp16.precision import FP32_ROLES
from affectstream.engines.labels import MODALITIES, Modality
from affectstream.engines.manifest import SPEAKER_FEATURES, Manifest, SpeakerFeature
from affectstream.engines.models.registry import part_path
from affectstream.engines.spec import Engine

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class Bundle:
    """An open bundle. As a context manager it closes its engines on exit."""

    folder: Path
    manifest: Manifest
    engines: dict[str, Engine]
    """By role, without the engines of the members."""
    tokenizer: Tokenizer | None
    """Of the text encoder, if there is one."""
    members: tuple[Bundle, ...]
    """In the order of the manifest."""
    _stack: ExitStack

    @classmethod
    def open(
        cls, bundle: str | Path = "pocket", *, device: str = "cpu", threads: int = 1
    ) -> Bundle:
        """Check and open `bundle` on `device` (see `open_engine`).

        Raises `BundleError`, `EngineError` or `DeviceError`, naming the fault.
        """
        folder = find_bundle(bundle)
        manifest = read_manifest(folder)
        with ExitStack() as stack:
            opener = _Opener(device, threads, stack)
            members = []
            for member in read_members(folder, manifest):
                engines = opener.engines(member.folder, member.manifest)
                check_graphs(member.folder, member.manifest, engines)
                if "logits" not in engines["fusion"].outputs:
                    raise BundleError(f"{folder}: member {member.name!r} has a head without logits")
                tokenizer = _open_tokenizer(member.folder, member.manifest)
                members.append(
                    cls(member.folder, member.manifest, engines, tokenizer, (), ExitStack())
                )
            engines = opener.engines(folder, manifest)
            if members:
                check_member_fusion(folder, manifest, engines["fusion"])
            else:
                check_graphs(folder, manifest, engines)
            tokenizer = _open_tokenizer(folder, manifest)
            return cls(folder, manifest, engines, tokenizer, tuple(members), stack.pop_all())

    @property
    def member_bundles(self) -> tuple[Bundle, ...]:
        """The members; a bundle without members is its own only member."""
        return self.members or (self,)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that any head takes."""
        heads = [member.engines["fusion"].inputs for member in self.member_bundles]
        return tuple(m for m in MODALITIES if any(m in inputs for inputs in heads))

    @property
    def speaker_features(self) -> tuple[SpeakerFeature, ...]:
        """The features of speakers that any head takes."""
        taken = {name for member in self.member_bundles for name in member.manifest.metadata}
        return tuple(name for name in SPEAKER_FEATURES if name in taken)

    @property
    def has_geometry(self) -> bool:
        """Whether faces are measured by an engine `face_geometry`."""
        return any(m.manifest.engines.face_geometry is not None for m in self.member_bundles)

    @property
    def head_outputs(self) -> frozenset[HeadOutput]:
        """The outputs of the head; unknown ones are ignored."""
        return frozenset(head_output_shapes(0)) & self.engines["fusion"].outputs.keys()

    @property
    def all_engines(self) -> dict[str, Engine]:
        """All engines by role, those of members by ``member/role``; a shared engine has several names."""
        inside = {f"{n}/{r}": e for n, m in self._named_members() for r, e in m.engines.items()}
        return {**self.engines, **inside}

    def with_engines(self, engines: Mapping[str, Engine]) -> Bundle:
        """A copy of this bundle with other `engines`, named as in `all_engines`.

        Closing either bundle closes the engines that this one opened.
        """
        members = tuple(
            replace(m, engines={role: engines[f"{name}/{role}"] for role in m.engines})
            for name, m in self._named_members()
        )
        own = {role: engines[role] for role in self.engines}
        return replace(self, engines=own, members=members)

    def _named_members(self) -> Iterator[tuple[str, Bundle]]:
        return zip(self.manifest.members, self.members, strict=True)

    def close(self) -> None:
        """Close the engines, which cannot be used any more. Closing again does nothing."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Opener:
    """Opens each file once, even if several bundles name it. `stack` closes the engines."""

    def __init__(self, device: str, threads: int, stack: ExitStack) -> None:
        self._device, self._threads, self._stack = device, threads, stack
        self._opened: dict[tuple[str, bool], Engine] = {}

    def engines(self, folder: Path, manifest: Manifest) -> dict[str, Engine]:
        """The engines of one bundle by role, without those of its members."""
        options = build_options(folder, manifest, self._device)
        engines: dict[str, Engine] = {}
        for role, part in engine_parts(manifest).items():
            fp16 = role not in FP32_ROLES
            if (part.sha256, fp16) not in self._opened:
                try:
                    opened = open_engine(
                        part_path(folder, part),
                        self._device,
                        threads=self._threads,
                        fp16=fp16,
                        options=options.get(role),
                    )
                except EngineError as error:
                    raise type(error)(f"bundle {manifest.name}, {role}: {error}") from error
                self._opened[part.sha256, fp16] = self._stack.enter_context(opened)
            engines[role] = self._opened[part.sha256, fp16]
        return engines


def _open_tokenizer(folder: Path, manifest: Manifest) -> Tokenizer | None:
    """The tokenizer of the text encoder, which truncates text that is too long.

    Without context it cuts the end. With context it cuts the beginning: the current utterance is the last.
    """
    part = manifest.engines.text_encoder
    if part is None:
        return None
    from tokenizers import Tokenizer

    path = part_path(folder, part.tokenizer)
    try:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_padding()
        tokenizer.enable_truncation(part.max_tokens, direction="left" if part.context else "right")
    except Exception as error:  # the library raises nothing more precise
        raise BundleError(f"{path} is not a tokenizer: {error}") from error
    return tokenizer
