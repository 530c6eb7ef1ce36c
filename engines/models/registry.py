"""Public models that can take a role in a bundle: where each comes from, and where it is kept.

They lie under ``models/`` of `home()`, each in a folder named by its hash, so that the path alone says
what has to be in the file.
"""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct

from affectstream.engines.errors import UsageError
from affectstream.engines.home import home
from affectstream.engines.manifest import DetectorPart, FilePart, Inside, Sha256

_FILE = Path(__file__).parent / "models.toml"


class Feeding(Struct, frozen=True, forbid_unknown_fields=True):
    """How a face detector wants its pixels; see `DetectorPart`."""

    input_size: Annotated[int, Meta(ge=32)]
    threshold: Inside
    nms_iou: Inside
    color: Literal["rgb", "bgr"]
    layout: Literal["nhwc", "nchw"]


class PublicModel(Struct, frozen=True, forbid_unknown_fields=True):
    """One model of others. Its hash and size are known, or it is not in the registry."""

    summary: str
    role: Literal["face_detector"]
    file: Annotated[str, Meta(pattern=r"^[\w.-]+\.onnx$")]
    url: Annotated[str, Meta(pattern="^https?://")]
    sha256: Sha256
    size: Annotated[int, Meta(gt=0)]
    """In bytes."""
    licence: str
    detector: Feeding

    @property
    def path(self) -> Path:
        """Where it is when it was pulled."""
        return _kept_at(self.sha256, self.file)

    def part(self, name: str) -> DetectorPart:
        """What stands in a manifest that names this model, `name` in the registry."""
        return DetectorPart(
            self.file, self.sha256, **msgspec.structs.asdict(self.detector), model=name
        )


def file_of(folder: Path, part: FilePart) -> Path:
    """Where a part's file is: in the bundle's `folder`, or among the public models that were pulled."""
    return folder / part.file if part.model is UNSET else _kept_at(part.sha256, part.file)


def _kept_at(sha256: str, file: str) -> Path:
    return home() / "models" / sha256[:16] / file


@functools.cache
def models() -> dict[str, PublicModel]:
    """The registry, by name."""
    return msgspec.convert(tomllib.loads(_FILE.read_text("utf-8")), dict[str, PublicModel])


def model(name: str) -> PublicModel:
    """One model of the registry. Raises `UsageError` for a name that is not in it."""
    try:
        return models()[name]
    except KeyError:
        raise UsageError(
            f"model {name!r} is not in the registry: choose from {', '.join(sorted(models()))}"
        ) from None
