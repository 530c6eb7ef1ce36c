"""`bundle.json`: what a recognizer is made of, as types.

The format carries its version. A newer major version is refused, an older one is read. 1.1 added
`FilePart.model`; 1.2 `FaceCrop.kind`, `TextPart.context`, `Manifest.metadata` and `Manifest.members`;
1.3 `FaceCrop.tone`.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

FORMAT = "1.3"

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Positive = Annotated[int, Meta(gt=0)]
Count = Annotated[int, Meta(ge=0)]
Unit = Annotated[float, Meta(ge=0.0, le=1.0)]
Inside = Annotated[float, Meta(gt=0.0, lt=1.0)]
Prior = Annotated[float, Meta(gt=0.0, le=1.0)]
Temperature = Annotated[float, Meta(gt=0.0)]
Folder = Annotated[str, Meta(pattern=r"^\w[\w.-]*$")]

CropKind = Literal["face", "person", "frame"]
CROPS: tuple[CropKind, ...] = get_args(CropKind)
Tone = Literal["natural", "equalized"]

SpeakerFeature = Literal[
    "age",
    "female",
    "male",
    "other",
    "listener_age",
    "listener_female",
    "listener_male",
    "listener_other",
]
SPEAKER_FEATURES: tuple[SpeakerFeature, ...] = get_args(SpeakerFeature)
"""What may be known of the speaker and of the one spoken to: an age is years / 100, the others are 0
or 1."""


class _Origin(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str | UnsetType = UNSET
    """Name in the registry of public models (see `registry`): the file is then not in the bundle but
    among the models that were pulled."""


class FilePart(_Origin, frozen=True):
    """A file and its SHA-256."""

    file: str
    sha256: Sha256


class DetectorPart(FilePart, frozen=True):
    """The face detector: how to feed it and how to read it."""

    input_size: Annotated[int, Meta(ge=32)]
    """Longest side of the picture it sees, in pixels."""
    threshold: Inside
    nms_iou: Inside = 0.3
    color: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["nhwc", "nchw"] = "nhwc"
    decoder: Literal["yunet"] = "yunet"


class TextPart(FilePart, frozen=True):
    """The text encoder with its tokenizer."""

    tokenizer: FilePart
    max_tokens: Positive = 64
    context: Count = 0
    """How many utterances before the current one are joined to it, see `stream.context`."""


class Engines(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Engines by role; an absent role is an absent modality. A bundle of members has `fusion` alone."""

    fusion: FilePart
    face_detector: DetectorPart | None = None
    face_encoder: FilePart | None = None
    voice_encoder: FilePart | None = None
    text_encoder: TextPart | None = None


class FaceCrop(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the face encoder is shown, in `size` x `size` pixels.

    ``face`` is the five-point similarity crop, ``person`` the face's box three times as wide and tall,
    ``frame`` the whole picture, for which no face is looked for.
    """

    size: Positive
    template: tuple[tuple[float, float], ...] = ()
    """Of a ``face``: where right eye, left eye, nose tip, right and left mouth corner land (the
    subject's right first)."""
    kind: CropKind = "face"
    tone: Tone = "natural"
    """``equalized``: as brightness alone, with all levels equally frequent, as what it learned from was."""


class Calibration(Struct, frozen=True, forbid_unknown_fields=True):
    """From logits to probabilities that mean what they say, fitted on validation data.

    Keys of both mappings are the modalities in use, joined in the order video, voice, text:
    ``"video+text"``.
    """

    prior: tuple[Prior, ...]
    """Class probabilities assumed in use; the head's logits are for a uniform prior."""
    temperature: dict[str, Temperature]
    min_confidence: dict[str, Unit]
    """Below this the reading abstains (chosen on the coverage curve)."""


class Licences(Struct, frozen=True, forbid_unknown_fields=True):
    """SPDX names, or words, for each thing that has a licence."""

    code: str
    data: str
    weights: str


class Measured(Struct, frozen=True, forbid_unknown_fields=True):
    """One measured figure."""

    part: str
    data: str
    metric: str
    value: float
    count: int


class Manifest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The whole of `bundle.json`."""

    format: str
    name: str
    version: str
    summary: str
    labels: tuple[str, ...]
    """In the order of the logits; none where the head tells no emotions."""
    window_us: Positive
    hop_us: Positive
    frame_hz: Positive
    engines: Engines
    calibration: Calibration
    licences: Licences
    crop: FaceCrop | None = None
    languages: tuple[str, ...] = ()
    """Of the words that count, as ISO 639-1 has them; none where that is not known: then any do."""
    metadata: tuple[SpeakerFeature, ...] = ()
    """What the numbers of the head's `metadata` input are; none where it takes none."""
    members: tuple[Folder, ...] = ()
    """Sub-folders that are bundles themselves; `fusion` then takes their logits, ``members (N, M, C)``
    float32, and which of them had anything to go by, ``mask (N, M)`` bool, and gives ``logits (N, C)``."""
    results: tuple[Measured, ...] = ()

    @property
    def frames_per_window(self) -> int:
        """Grid points that a window looks at."""
        return self.window_us * self.frame_hz // 1_000_000

    @property
    def samples_per_window(self) -> int:
        """Samples of sound, at 16 kHz, that a window looks at."""
        return self.window_us * 16_000 // 1_000_000


def encode(manifest: Manifest) -> bytes:
    """The text of `bundle.json`, indented, with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
