"""The registry of public models: which role in a bundle each can take, and where it is downloaded from.

Pulled models lie in ``models/`` under `home()`, each in a folder named by its hash, so the path alone
determines the content of the file. You describe your own models in the same way, in a `models.toml` beside
their files.
"""

from __future__ import annotations

import functools
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, Meta, Struct, structs

from affectstream.engines.cache.home import home
from affectstream.engines.errors import UsageError
from affectstream.engines.manifest import (
    DetectorPart,
    FaceCrop,
    FilePart,
    Manifest,
    OpenUnit,
    PlainName,
    Positive,
    Probability,
    Role,
    Sha256,
    TextPart,
    check_scores,
)

MODELS_VARIABLE = "AFFECTSTREAM_MODELS"
"""Environment variable: a folder with your own models, or with files that you downloaded by hand."""
REGISTRY_FILE = "models.toml"
_SHIPPED = Path(__file__).parent / REGISTRY_FILE


class DetectorInput(Struct, frozen=True, forbid_unknown_fields=True):
    """The input format of a face detector; see `DetectorPart`."""

    input_size: Annotated[int, Meta(ge=32)]
    threshold: OpenUnit
    nms_iou: OpenUnit
    color: Literal["rgb", "bgr"]
    layout: Literal["nhwc", "nchw"]
    certain: OpenUnit = 0.55
    clear: OpenUnit = 0.8
    upright: Probability = 0.0
    leaning: Probability = 0.0

    def __post_init__(self) -> None:
        """Raise `ValueError` as `DetectorPart`."""
        check_scores(self.certain, self.clear, self.leaning, self.threshold)


class PublicFile(Struct, frozen=True, forbid_unknown_fields=True):
    """One public file."""

    file: PlainName
    url: str
    """In ASCII; other characters are percent-encoded."""
    sha256: Sha256
    size: Positive
    """In bytes."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a `url` that names no server."""
        fault = f"url {self.url!r}: expected such as https://example.org/model.onnx"
        try:
            parts = urlsplit(self.url)
            valid = bool(parts.hostname) and parts.username is None and parts.port != 0
        except ValueError as error:
            raise ValueError(f"{fault} ({error})") from error
        if not valid or not re.fullmatch("https?://[!-~]+", self.url):
            raise ValueError(fault)

    @property
    def path(self) -> Path:
        """Its path once it was pulled."""
        return _pulled_path(self.sha256, self.file)


class PublicModel(PublicFile, frozen=True, forbid_unknown_fields=True, tag_field="role"):
    """A graph for one role; the classes below add what their role needs.

    The graph has the inputs and outputs of its role (see docs/reference/bundles.md). The head of the bundle
    must have been trained on an encoder that replaces another.
    """

    summary: str
    licence: str

    @property
    def role(self) -> Role:
        """The role that it takes in a bundle."""
        return cast(Role, self.__struct_config__.tag)

    @property
    def files(self) -> tuple[PublicFile, ...]:
        """All files to pull."""
        return (self,)

    def put_into(self, manifest: Manifest, name: str) -> Manifest:
        """A copy of `manifest` with this model, called `name` in the registry, in its role."""
        return _replace_part(manifest, self.role, FilePart(self.file, self.sha256, model=name))


class PublicFaceDetector(PublicModel, frozen=True, forbid_unknown_fields=True, tag="face_detector"):
    """YuNet, or a detector with the same outputs."""

    detector: DetectorInput

    def put_into(self, manifest: Manifest, name: str) -> Manifest:
        """See `PublicModel.put_into`."""
        settings = structs.asdict(self.detector)
        part = DetectorPart(self.file, self.sha256, **settings, model=name)
        return _replace_part(manifest, self.role, part)


class PublicFaceEncoder(PublicModel, frozen=True, forbid_unknown_fields=True, tag="face_encoder"):
    """An encoder of pictures, with the crop that it was trained on."""

    crop: FaceCrop

    def put_into(self, manifest: Manifest, name: str) -> Manifest:
        """See `PublicModel.put_into`."""
        return structs.replace(super().put_into(manifest, name), crop=self.crop)


class PublicVoiceEncoder(PublicModel, frozen=True, forbid_unknown_fields=True, tag="voice_encoder"):
    """An encoder of audio windows."""


class PublicTextEncoder(PublicModel, frozen=True, forbid_unknown_fields=True, tag="text_encoder"):
    """An encoder of utterances, with its tokenizer."""

    tokenizer: PublicFile
    max_tokens: Positive
    languages: tuple[str, ...]

    @property
    def files(self) -> tuple[PublicFile, ...]:
        """See `PublicModel.files`."""
        return (self, self.tokenizer)

    def put_into(self, manifest: Manifest, name: str) -> Manifest:
        """See `PublicModel.put_into`."""
        old = manifest.engines.text_encoder
        part = TextPart(
            self.file,
            self.sha256,
            FilePart(self.tokenizer.file, self.tokenizer.sha256, model=name),
            self.max_tokens,
            0 if old is None else old.context,
            model=name,
        )
        return structs.replace(_replace_part(manifest, self.role, part), languages=self.languages)


RegisteredModel = PublicFaceDetector | PublicFaceEncoder | PublicVoiceEncoder | PublicTextEncoder


def _replace_part(manifest: Manifest, role: Role, part: FilePart) -> Manifest:
    return structs.replace(manifest, engines=structs.replace(manifest.engines, **{role: part}))


def part_path(folder: Path, part: FilePart) -> Path:
    """The path of a part: in the bundle's `folder`, or among the pulled models."""
    return folder / part.file if part.model is UNSET else _pulled_path(part.sha256, part.file)


def _pulled_path(sha256: str, file: str) -> Path:
    return home() / "models" / sha256[:16] / file


def models(folder: Path | None = None) -> dict[str, RegisteredModel]:
    """The registry by name: the models of this package and those of `folder`.

    `folder` is by default the one that `MODELS_VARIABLE` names. Raises `UsageError` for a list that cannot be
    read.
    """
    if folder is None and (named := os.environ.get(MODELS_VARIABLE)):
        folder = Path(named)
    if folder is None or not (folder / REGISTRY_FILE).is_file():
        return dict(_shipped())
    own = _read(folder / REGISTRY_FILE)
    if taken := sorted(own.keys() & _shipped().keys()):
        raise UsageError(
            f"{folder / REGISTRY_FILE}: {taken[0]} is the name of a public model: choose another name"
        )
    return _shipped() | own


@functools.cache
def _shipped() -> dict[str, RegisteredModel]:
    return _read(_SHIPPED)


def _read(path: Path) -> dict[str, RegisteredModel]:
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), dict[str, RegisteredModel])
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not a list of models: {error}") from error


def model(name: str, folder: Path | None = None) -> RegisteredModel:
    """One model of the registry. Raises `UsageError` for a name that is not in it."""
    known = models(folder)
    try:
        return known[name]
    except KeyError:
        raise UsageError(
            f"model {name!r} is not in the registry: choose from {', '.join(sorted(known))}, or describe "
            f"it in a {REGISTRY_FILE} in the folder that --from or {MODELS_VARIABLE} names"
        ) from None
