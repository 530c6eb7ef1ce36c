"""`bundle.json`: the parts of a recognizer, as types.

The format has a version. A newer major version is refused; older ones are read. Version 1.1 added
`FilePart.model`, 1.2 `FaceCrop.kind`, `TextPart.context`, `Manifest.metadata` and `Manifest.members`, 1.3
`FaceCrop.tone`, 1.4 `Engines.face_geometry`, 1.5 `Calibration.conflict`, `Calibration.neutral` and the head
output `arousal`, 1.6 `DetectorPart.certain` and `DetectorPart.clear`, 1.7
`DetectorPart.upright`, and 1.8 `DetectorPart.leaning`.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

FORMAT = "1.8"

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Positive = Annotated[int, Meta(gt=0)]
Count = Annotated[int, Meta(ge=0)]
Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
OpenUnit = Annotated[float, Meta(gt=0.0, lt=1.0)]
Prior = Annotated[float, Meta(gt=0.0, le=1.0)]
Temperature = Annotated[float, Meta(gt=0.0)]
PlainName = Annotated[str, Meta(pattern=r"^\w[\w.-]*\Z", max_length=255)]
"""A name in a folder, never a path that leads elsewhere."""

Role = Literal[
    "fusion", "face_detector", "face_geometry", "face_encoder", "voice_encoder", "text_encoder"
]
ROLES: tuple[Role, ...] = get_args(Role)
"""The jobs of the engines in a bundle."""

FaceRole = Literal["face_detector", "face_geometry"]
FACE_ROLES: tuple[FaceRole, ...] = get_args(FaceRole)
"""The engines that find faces and measure them, whatever is then read from these faces."""

CropKind = Literal["face", "person", "frame"]
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
"""What may be known about the speaker and the listener: an age is years / 100, the others are 0 or 1."""


class _Origin(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str | UnsetType = UNSET
    """Name in the registry of public models: the file is then not in the bundle, but among the models that
    were pulled (see `models.registry`)."""


class FilePart(_Origin, frozen=True):
    """A file and its SHA-256."""

    file: PlainName
    sha256: Sha256


class DetectorPart(FilePart, frozen=True):
    """The face detector, with the format of its input and output."""

    input_size: Annotated[int, Meta(ge=32)]
    """Longest side of its input picture, in pixels."""
    threshold: OpenUnit
    """Lowest score of a face."""
    certain: OpenUnit = 0.55
    """Lowest score that makes it certain, with other detections, that a person is there."""
    clear: OpenUnit = 0.8
    """Lowest score for which one detection is enough; not below `certain`."""
    upright: Probability = 0.0
    """Lowest score of a face that is surely the right way up. One of a lower score, and a picture without a
    certain face, are looked at in four turns. 0: never."""
    leaning: Probability = 0.0
    """Lowest score, under `threshold`, of what may be a head that leans: it is looked at leaning to either
    side. 0: never."""
    nms_iou: OpenUnit = 0.3
    color: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["nhwc", "nchw"] = "nhwc"
    decoder: Literal["yunet"] = "yunet"

    def __post_init__(self) -> None:
        """Raise `ValueError` if `clear` is below `certain`, or `leaning` above `threshold`."""
        check_scores(self.certain, self.clear, self.leaning, self.threshold)


def check_scores(certain: float, clear: float, leaning: float, threshold: float) -> None:
    """Raise `ValueError` if the scores from which a detection is more begin below those of what is less."""
    if clear < certain:
        raise ValueError(
            f"clear is {clear:g} and certain {certain:g}: expected clear to be certain or more"
        )
    if leaning > threshold:
        raise ValueError(
            f"leaning is {leaning:g} and threshold {threshold:g}: expected leaning to be at most threshold"
        )


class GeometryPart(FilePart, frozen=True):
    """The engine that measures a detected face (see `landmarks`), with the format of its input.

    Its input is a square of the picture: around the center of the detector's box, not turned, `scale` times
    as wide as the longer side of the box, resized to `input_size` pixels.
    """

    input_size: Annotated[int, Meta(ge=16, le=512)]
    scale: Annotated[float, Meta(ge=1.0, le=4.0)] = 1.5


class TextPart(FilePart, frozen=True):
    """The text encoder with its tokenizer."""

    tokenizer: FilePart
    max_tokens: Positive = 64
    context: Count = 0
    """Number of earlier utterances that are joined to the current one (see `stream.transcript.context`)."""


class Engines(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Engines by `Role`. A missing encoder is a missing modality. A bundle of members has `fusion` alone."""

    fusion: FilePart
    face_detector: DetectorPart | None = None
    face_geometry: GeometryPart | None = None
    face_encoder: FilePart | None = None
    voice_encoder: FilePart | None = None
    text_encoder: TextPart | None = None


class FaceCrop(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The input of the face encoder, `size` x `size` pixels.

    ``face`` is the five-point similarity crop, ``person`` the face's box three times as wide and tall, and
    ``frame`` the whole picture, without face detection.
    """

    size: Positive
    template: tuple[tuple[float, float], ...] = ()
    """For ``face``: target positions of right eye, left eye, nose tip, right and left mouth corner; right is
    the subject's right."""
    kind: CropKind = "face"
    tone: Tone = "natural"
    """``equalized``: gray, with an equalized histogram, like the pictures that the encoder learned from."""


class Calibration(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How logits become calibrated probabilities, fitted on validation data.

    The keys of both mappings are the modalities in use, joined in the order of `MODALITIES`:
    ``"video+text"``.
    """

    prior: tuple[Prior, ...]
    """Class probabilities expected in use; the head's logits are for a uniform prior."""
    temperature: dict[str, Temperature]
    min_confidence: dict[str, Probability]
    """A reading below this confidence abstains (chosen on the coverage curve)."""
    conflict: dict[str, Probability] = {}
    """For each pair of modalities: the Jensen-Shannon divergence (bits) of what they say alone from which on
    they contradict each other, if their labels differ and each is more likely right than wrong. Empty:
    contradictions are not looked for."""
    neutral: dict[Literal["video", "voice", "text"], tuple[float, ...]] = {}
    """The mean logits of neutral samples for each modality alone. `--neutral` compares a person with them."""


class Licenses(Struct, frozen=True, forbid_unknown_fields=True):
    """The license of each part: an SPDX name, or words."""

    code: str
    data: str
    weights: str


class Measurement(Struct, frozen=True, forbid_unknown_fields=True):
    """One measured metric."""

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
    """In the order of the logits; empty when the head predicts no emotions."""
    window_us: Positive
    hop_us: Positive
    frame_hz: Positive
    engines: Engines
    calibration: Calibration
    licences: Licenses
    crop: FaceCrop | None = None
    languages: tuple[str, ...] = ()
    """ISO 639-1 codes of the languages that the text encoder understands; empty means any."""
    metadata: tuple[SpeakerFeature, ...] = ()
    """The values of the head's `metadata` input, in order; empty when it has no such input."""
    members: tuple[PlainName, ...] = ()
    """Sub-folders that are bundles. `fusion` then takes their logits, ``members (N, M, C)`` float32, and
    ``mask (N, M)`` bool, true for a member that had input, and returns ``logits (N, C)``."""
    results: tuple[Measurement, ...] = ()

    @property
    def frames_per_window(self) -> int:
        """Number of frames in a window."""
        return self.window_us * self.frame_hz // 1_000_000

    @property
    def samples_per_window(self) -> int:
        """Number of audio samples in a window, at 16 kHz."""
        return self.window_us * 16_000 // 1_000_000


def encode_manifest(manifest: Manifest) -> bytes:
    """The text of `bundle.json`, indented, with a final newline."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
