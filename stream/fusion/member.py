"""One bundle of encoders and a head, for one source: the head's inputs and outputs of each subject."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.graphs.batching import run_in_batches
from affectstream.engines.labels import Modality
from affectstream.engines.spans import span
from affectstream.engines.spec import Array
from affectstream.stream.faces.encode import FaceEncoders
from affectstream.stream.faces.measures.quality import MIN_QUALITY
from affectstream.stream.fusion.encoders import Encoders
from affectstream.stream.fusion.subjects import Subject, is_recent
from affectstream.stream.media.types import Cue
from affectstream.stream.speaker_metadata import Speakers
from affectstream.stream.windowing.windows import Window, WindowShape

MIN_VOICED_US = 500_000
"""With less speech than this in a window the voice counts as absent."""

HeadOutputs = Mapping[str, Array]
"""A head's outputs for one subject, by name."""


@dataclass(frozen=True, slots=True, eq=False)
class MemberInputs:
    """What a member uses of one subject. Absent modalities are masked.

    `video` is (T, D) float32 with its mask (T,) bool, `channel` the channel of sound with the voice, and
    `utterances` the current utterance after those before it.
    """

    track: int | None
    video: tuple[Array, Array] | None = None
    channel: int | None = None
    utterances: tuple[Cue, ...] = ()

    def only(self, modality: Modality) -> MemberInputs:
        """The same subject with every other modality masked."""
        return MemberInputs(
            self.track,
            self.video if modality == "video" else None,
            self.channel if modality == "voice" else None,
            self.utterances if modality == "text" else (),
        )

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that are present, in the order of `MODALITIES`."""
        present: dict[Modality, bool] = {
            "video": self.video is not None,
            "voice": self.channel is not None,
            "text": bool(self.utterances),
        }
        return tuple(m for m, here in present.items() if here)


@dataclass(frozen=True, slots=True)
class MemberContext:
    """What all members share for one source."""

    grid_hz: int
    """Grid points a second of the windows."""
    face_encoders: FaceEncoders
    speakers: Speakers
    language: str | None
    encoders: Encoders = field(default_factory=Encoders)


class BundleMember:
    """A member of a bundle, or a bundle without members, for one source."""

    def __init__(self, bundle: Bundle, shared: MemberContext) -> None:
        manifest = bundle.manifest
        self.shape = WindowShape(manifest.window_us, manifest.hop_us, manifest.frame_hz)
        self._head = bundle.engines["fusion"]
        self._modalities = bundle.modalities
        self.point_step = shared.grid_hz // manifest.frame_hz
        """Points of the source's grid for each point of the member's."""
        self.face_encoder = shared.face_encoders.index_of(bundle)
        """The index of its encoder of faces, or of whole frames if `encodes_frames`."""
        self.encodes_frames = manifest.crop is not None and manifest.crop.kind == "frame"
        self.voice = shared.encoders.voice(bundle)
        self.text = shared.encoders.text(bundle)
        text = manifest.engines.text_encoder
        self._context = 0 if text is None else text.context
        declared, known = shared.language, manifest.languages
        self._knows_language = (
            declared is None or not known or declared.split("-")[0].lower() in known
        )
        self._speaker_features, self._speakers = manifest.metadata, shared.speakers

    @property
    def uses_faces(self) -> bool:
        """Whether the member encodes faces, or the people around them."""
        return self.face_encoder is not None and not self.encodes_frames

    @property
    def uses_text(self) -> bool:
        """Whether the member encodes words of the declared language."""
        return self.text is not None and self._knows_language

    def has_speech(self, window: Window, channel: int) -> bool:
        """Whether the member encodes voices, and a channel has enough speech, some of it recent."""
        voiced_us = window.voiced_us_in(self.shape.window_us)[channel]
        spoken = voiced_us >= MIN_VOICED_US and window.has_recent_speech(channel)
        return self.voice is not None and spoken

    def inputs(self, window: Window, subject: Subject) -> MemberInputs:
        """What the member uses of `subject`, in the member's own window and on its own grid."""
        channel = subject.channel
        if channel is not None and not self.has_speech(window, channel):
            channel = None
        utterances: tuple[Cue, ...] = ()
        if subject.cue is not None and self.uses_text:
            before = window.earlier_cues[-self._context :] if self._context else ()
            utterances = (*before, subject.cue)
        return MemberInputs(subject.track, self._video(window, subject), channel, utterances)

    def predict(self, window: Window, inputs: Sequence[MemberInputs]) -> list[HeadOutputs | None]:
        """The head's outputs for each subject; None for one without any modality."""
        used = [each for each in inputs if each.modalities]
        outputs = iter(self.run_head(self.feeds(window, used), len(used)))
        return [next(outputs) if each.modalities else None for each in inputs]

    def run_head(self, feeds: Mapping[str, Array], count: int) -> Sequence[HeadOutputs]:
        """The head's outputs for each of the `count` rows of `feeds`."""
        with span("fuse", count):
            return run_in_batches(self._head, feeds, count)

    def _video(self, window: Window, subject: Subject) -> tuple[Array, Array] | None:
        """Embeddings (T, D) float32 and mask (T,) bool of a subject; None without a usable face."""
        first = (window.hop + 1) * self.shape.points_per_hop - self.shape.points
        own = [
            (point // self.point_step - first, embedding)
            for point, embedding in self._embeddings(window, subject)
            if point % self.point_step == 0 and point // self.point_step >= first
        ]
        if not own:
            return None
        frames = np.zeros((self.shape.points, len(own[0][1])), np.float32)
        mask = np.zeros(self.shape.points, np.bool_)
        for place, embedding in own:
            frames[place], mask[place] = embedding, True
        return frames, mask

    def _embeddings(
        self, window: Window, subject: Subject
    ) -> Iterable[tuple[int, NDArray[np.float32]]]:
        """Grid points and embeddings (D,) of a subject who is still in view."""
        n = self.face_encoder
        if n is None:
            return []
        if self.encodes_frames:
            recent = is_recent(subject.frames, window.end_us)
            return [(f.point, f.embeddings[n]) for f in subject.frames if recent]
        recent = is_recent(subject.samples, window.end_us)
        return [
            (sample.point, sample.face.embeddings[n])
            for sample in subject.samples
            if recent and sample.face.quality.value >= MIN_QUALITY
        ]

    def feeds(self, window: Window, inputs: Sequence[MemberInputs]) -> dict[str, Array]:
        """The head's input arrays, one row for each of `inputs`."""
        feeds: dict[str, Array] = {}
        for name in self._modalities:
            _, steps, width = self._head.inputs[name].shape
            feeds[name] = np.zeros((len(inputs), int(steps), int(width)), np.float32)
            feeds[f"{name}_mask"] = np.zeros((len(inputs), int(steps)), np.bool_)
        if names := self._speaker_features:
            features = [self._speakers.features(names, each.track) for each in inputs]
            feeds["metadata"] = np.reshape([values for values, _ in features], (-1, len(names)))
            feeds["metadata_mask"] = np.reshape([known for _, known in features], (-1, len(names)))
        voices = self._voices(window, inputs)
        for row, each in enumerate(inputs):
            if each.video is not None:
                feeds["video"][row], feeds["video_mask"][row] = each.video
            if each.channel is not None:
                feeds["voice"][row], feeds["voice_mask"][row] = voices[each.channel], True
            if each.utterances and self.text is not None:
                feeds["text"][row], feeds["text_mask"][row] = self.text.encode(each.utterances)
        return feeds

    def _voices(
        self, window: Window, inputs: Sequence[MemberInputs]
    ) -> Mapping[int, NDArray[np.float32]]:
        channels = sorted({each.channel for each in inputs if each.channel is not None})
        return self.voice.encode(window, channels) if self.voice is not None and channels else {}
