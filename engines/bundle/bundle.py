"""Opening a bundle: every hash, name and shape is checked, and a fault is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from affectstream.engines.bundle.bundle_plans import build_options
from affectstream.engines.bundle.folder import (
    MANIFEST,
    POCKET,
    engine_parts,
    locate,
    parts,
    read_manifest,
    read_members,
)
from affectstream.engines.bundle.shapes import (
    ENCODERS,
    YUNET,
    check_graphs,
    check_joint,
)
from affectstream.engines.bundle.shapes import head_outputs as known_answers
from affectstream.engines.cache.digest import sha256
from affectstream.engines.errors import BundleError, EngineError
from affectstream.engines.fp16 import FP32_ROLES
from affectstream.engines.labels import MODALITIES, Modality
from affectstream.engines.manifest import SPEAKER_FEATURES, Manifest, SpeakerFeature
from affectstream.engines.models.registry import file_of
from affectstream.engines.open import open_engine
from affectstream.engines.spec import Engine

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = [
    "ENCODERS",
    "MANIFEST",
    "MODALITIES",
    "POCKET",
    "YUNET",
    "Bundle",
    "locate",
    "parts",
    "read_manifest",
    "sha256",
]


@dataclass(frozen=True, slots=True)
class Bundle:
    """An open bundle: its manifest, folder, engines by role and tokenizer. Closes them on exit."""

    folder: Path
    manifest: Manifest
    engines: dict[str, Engine]
    """Its own, without those of its members."""
    tokenizer: Tokenizer | None
    """Of the text encoder; None where there is none."""
    members: tuple[Bundle, ...]
    """The bundles inside it, in the order of the manifest."""
    _stack: ExitStack

    @classmethod
    def open(
        cls, bundle: str | Path = "pocket", *, device: str = "cpu", threads: int = 1
    ) -> Bundle:
        """Check and open `bundle` on `device`, as `choose` names it.

        Raises `BundleError`, `EngineError` or `DeviceError`, naming the fault.
        """
        folder = locate(bundle)
        manifest = read_manifest(folder)
        with ExitStack() as stack:
            opener = _Opener(device, threads, stack)
            members = []
            for inside in read_members(folder, manifest):
                engines = opener.engines(inside.folder, inside.manifest)
                check_graphs(inside.folder, inside.manifest, engines)
                if "logits" not in engines["fusion"].outputs:
                    raise BundleError(f"{folder}: member {inside.name!r} has a head without logits")
                tokenizer = _tokenizer(inside.folder, inside.manifest)
                members.append(
                    cls(inside.folder, inside.manifest, engines, tokenizer, (), ExitStack())
                )
            engines = opener.engines(folder, manifest)
            if members:
                check_joint(folder, manifest, engines["fusion"])
            else:
                check_graphs(folder, manifest, engines)
            tokenizer = _tokenizer(folder, manifest)
            return cls(folder, manifest, engines, tokenizer, tuple(members), stack.pop_all())

    @property
    def experts(self) -> tuple[Bundle, ...]:
        """The bundles with encoders and a head over them: the members, or this one itself."""
        return self.members or (self,)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that some head takes, of `MODALITIES`."""
        heads = [expert.engines["fusion"].inputs for expert in self.experts]
        return tuple(m for m in MODALITIES if any(m in inputs for inputs in heads))

    @property
    def facts(self) -> tuple[SpeakerFeature, ...]:
        """What is asked for of the speakers, by any head."""
        return tuple(
            f for f in SPEAKER_FEATURES if any(f in e.manifest.metadata for e in self.experts)
        )

    @property
    def answers(self) -> frozenset[str]:
        """What the head says, of `shapes.answers`; its other outputs count for nothing."""
        return frozenset(known_answers(0)) & self.engines["fusion"].outputs.keys()

    @property
    def every_engine(self) -> dict[str, Engine]:
        """All engines by role, ``member/role`` inside a member; a shared one under each name."""
        inside = {f"{n}/{r}": e for n, m in self._named() for r, e in m.engines.items()}
        return {**self.engines, **inside}

    def with_engines(self, engines: Mapping[str, Engine]) -> Bundle:
        """This bundle with `engines`, named as in `every_engine`, in the place of its own.

        Closing either closes the engines that this one opened.
        """
        members = tuple(
            replace(m, engines={role: engines[f"{name}/{role}"] for role in m.engines})
            for name, m in self._named()
        )
        own = {role: engines[role] for role in self.engines}
        return replace(self, engines=own, members=members)

    def _named(self) -> Iterator[tuple[str, Bundle]]:
        return zip(self.manifest.members, self.members, strict=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()


class _Opener:
    """Opens each file once, however many bundles name it; `stack` closes them."""

    def __init__(self, device: str, threads: int, stack: ExitStack) -> None:
        self._device, self._threads, self._stack = device, threads, stack
        self._opened: dict[tuple[str, bool], Engine] = {}

    def engines(self, folder: Path, manifest: Manifest) -> dict[str, Engine]:
        """The engines of one bundle, without those of its members."""
        options = build_options(folder, manifest, self._device)
        engines: dict[str, Engine] = {}
        for role, part in engine_parts(manifest).items():
            half = role not in FP32_ROLES
            if (part.sha256, half) not in self._opened:
                try:
                    opened = open_engine(
                        file_of(folder, part),
                        self._device,
                        threads=self._threads,
                        half=half,
                        options=options.get(role),
                    )
                except EngineError as error:
                    raise type(error)(f"bundle {manifest.name}, {role}: {error}") from error
                self._opened[part.sha256, half] = self._stack.enter_context(opened)
            engines[role] = self._opened[part.sha256, half]
        return engines


def _tokenizer(folder: Path, manifest: Manifest) -> Tokenizer | None:
    """The tokenizer of the text encoder, which cuts what is too long.

    The end goes, unless earlier utterances are joined to the current one, which comes last.
    """
    part = manifest.engines.text_encoder
    if part is None:
        return None
    from tokenizers import Tokenizer

    path = file_of(folder, part.tokenizer)
    try:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_padding()
        tokenizer.enable_truncation(part.max_tokens, direction="left" if part.context else "right")
    except Exception as error:  # the library raises nothing more precise
        raise BundleError(f"{path} is not a tokenizer: {error}") from error
    return tokenizer
