"""Public models that can take a role in a bundle: where each comes from, and where it is kept.

They lie under ``models/`` of `home()`, each in a folder named by its hash, so that the path alone says
what has to be in the file. Models of one's own are described in the same way, in a `models.toml` in the
folder that holds them.
"""

from __future__ import annotations

import functools
import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, structs

from affectstream.engines.cache.home import home
from affectstream.engines.errors import UsageError
from affectstream.engines.manifest import (
    DetectorPart,
    FaceCrop,
    FilePart,
    Inside,
    Manifest,
    Positive,
    Sha256,
    TextPart,
)

FOLDER = "AFFECTSTREAM_MODELS"
"""Environment variable: a folder of models that were fetched by other means, or are one's own."""
LISTED = "models.toml"
_SHIPPED = Path(__file__).parent / LISTED


class Feeding(Struct, frozen=True, forbid_unknown_fields=True):
    """How a face detector wants its pixels; see `DetectorPart`."""

    input_size: Annotated[int, Meta(ge=32)]
    threshold: Inside
    nms_iou: Inside
    color: Literal["rgb", "bgr"]
    layout: Literal["nhwc", "nchw"]


class PublicFile(Struct, frozen=True, forbid_unknown_fields=True):
    """One file of others. Its hash and size are known, or it is not in the registry."""

    file: Annotated[str, Meta(pattern=r"^\w[\w.-]*$")]
    url: Annotated[str, Meta(pattern="^https?://")]
    sha256: Sha256
    size: Positive
    """In bytes."""

    @property
    def path(self) -> Path:
        """Where it is when it was pulled."""
        return _kept_at(self.sha256, self.file)


class PublicModel(PublicFile, frozen=True, forbid_unknown_fields=True, tag_field="role"):
    """A graph that takes one role. What a role needs to know besides is in the kinds below.

    A graph has the inputs and outputs of its role in every bundle; of an encoder these are ``pixels``,
    ``samples``, or ``ids`` and ``mask``, and ``embedding``. Its head must have been trained on it.
    """

    summary: str
    licence: str

    @property
    def role(self) -> str:
        """The role it takes, as in `Engines`."""
        return str(self.__struct_config__.tag)

    @property
    def files(self) -> tuple[PublicFile, ...]:
        """All that has to be pulled."""
        return (self,)

    def placed(self, manifest: Manifest, name: str) -> Manifest:
        """`manifest` with this model, `name` in the registry, in its role."""
        return _with(manifest, self.role, FilePart(self.file, self.sha256, model=name))


class FaceDetector(PublicModel, frozen=True, forbid_unknown_fields=True, tag="face_detector"):
    """YuNet, or what gives the same outputs."""

    detector: Feeding

    def placed(self, manifest: Manifest, name: str) -> Manifest:
        """See `PublicModel.placed`."""
        feeding = structs.asdict(self.detector)
        part = DetectorPart(self.file, self.sha256, **feeding, model=name)
        return _with(manifest, self.role, part)


class FaceEncoder(PublicModel, frozen=True, forbid_unknown_fields=True, tag="face_encoder"):
    """An encoder of pictures, with the crop that it was trained on."""

    crop: FaceCrop

    def placed(self, manifest: Manifest, name: str) -> Manifest:
        """See `PublicModel.placed`."""
        return structs.replace(super().placed(manifest, name), crop=self.crop)


class VoiceEncoder(PublicModel, frozen=True, forbid_unknown_fields=True, tag="voice_encoder"):
    """An encoder of windows of sound."""


class TextEncoder(PublicModel, frozen=True, forbid_unknown_fields=True, tag="text_encoder"):
    """An encoder of utterances, with its tokenizer."""

    tokenizer: PublicFile
    max_tokens: Positive
    languages: tuple[str, ...]

    @property
    def files(self) -> tuple[PublicFile, ...]:
        """See `PublicModel.files`."""
        return (self, self.tokenizer)

    def placed(self, manifest: Manifest, name: str) -> Manifest:
        """See `PublicModel.placed`."""
        before = manifest.engines.text_encoder
        part = TextPart(
            self.file,
            self.sha256,
            FilePart(self.tokenizer.file, self.tokenizer.sha256, model=name),
            self.max_tokens,
            0 if before is None else before.context,
            model=name,
        )
        return structs.replace(_with(manifest, self.role, part), languages=self.languages)


Listed = FaceDetector | FaceEncoder | VoiceEncoder | TextEncoder


def _with(manifest: Manifest, role: str, part: FilePart) -> Manifest:
    return structs.replace(manifest, engines=structs.replace(manifest.engines, **{role: part}))


def file_of(folder: Path, part: FilePart) -> Path:
    """Where a part's file is: in the bundle's `folder`, or among the public models that were pulled."""
    return folder / part.file if part.model is UNSET else _kept_at(part.sha256, part.file)


def _kept_at(sha256: str, file: str) -> Path:
    return home() / "models" / sha256[:16] / file


def models(folder: Path | None = None) -> dict[str, Listed]:
    """The registry, by name: what this package lists, and what `folder` lists, or the one that
    `FOLDER` names. Raises `UsageError` for a list that cannot be read."""
    if folder is None and (named := os.environ.get(FOLDER)):
        folder = Path(named)
    if folder is None or not (folder / LISTED).is_file():
        return dict(_shipped())
    own = _read(folder / LISTED)
    if taken := sorted(own.keys() & _shipped().keys()):
        raise UsageError(
            f"{folder / LISTED} calls its model {taken[0]}, which is the name of a public one: give it "
            "another"
        )
    return _shipped() | own


@functools.cache
def _shipped() -> dict[str, Listed]:
    return _read(_SHIPPED)


def _read(path: Path) -> dict[str, Listed]:
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), dict[str, Listed])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is no list of models: {error}") from error
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}") from error


def model(name: str, folder: Path | None = None) -> Listed:
    """One model of the registry. Raises `UsageError` for a name that is not in it."""
    known = models(folder)
    try:
        return known[name]
    except KeyError:
        raise UsageError(
            f"model {name!r} is not in the registry: choose from {', '.join(sorted(known))}, or describe "
            f"it in a {LISTED} in the folder that --from or {FOLDER} names"
        ) from None
