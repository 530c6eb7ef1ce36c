"""One plain bundle at the windows of a source: what it has of each row, and what its head says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import MODALITIES, Bundle
from affectstream.engines.spec import SLOTS, Array, Engine, padded, slot
from affectstream.stream.faces.encode import FaceEncoders
from affectstream.stream.faces.quality import MIN_QUALITY
from affectstream.stream.fusion.encoders import Encoders
from affectstream.stream.media.types import Cue
from affectstream.stream.speaker_metadata import Speakers
from affectstream.stream.windowing.windows import (
    ABSENT_AFTER_US,
    FrameSample,
    TrackSample,
    Window,
    WindowShape,
)

MIN_VOICED_US = 500_000
"""Less speech than this in a window is no evidence: the voice counts as absent."""

HeadOutputs = Mapping[str, Array]
"""The head's outputs of one row, by name."""


@dataclass(slots=True)
class Subject:
    """What belongs to one reading: of a track, or (`track` None) of the recording."""

    track: int | None
    samples: tuple[TrackSample, ...] = ()
    frames: tuple[FrameSample, ...] = ()
    channel: int | None = None
    """Of the sound, whose voice belongs here."""
    cue: Cue | None = None
    assigned_by: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MemberInputs:
    """What an expert takes of a row, masked where it has nothing to go by.

    `video` is (T, D) float32 with its mask (T,), `utterances` the current utterance after those before it.
    """

    video: tuple[Array, Array] | None = None
    channel: int | None = None
    utterances: tuple[Cue, ...] = ()

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those that are there, of `MODALITIES`."""
        have = (self.video is not None, self.channel is not None, bool(self.utterances))
        return tuple(m for m, there in zip(MODALITIES, have, strict=True) if there)


@dataclass(frozen=True, slots=True)
class MemberContext:
    """What the experts of one source have in common."""

    grid_hz: int
    eyes: FaceEncoders
    speakers: Speakers
    language: str | None
    encoders: Encoders = field(default_factory=Encoders)


class BundleMember:
    """See the module. For one source, hop after hop."""

    def __init__(self, bundle: Bundle, shared: MemberContext) -> None:
        manifest = bundle.manifest
        self.shape = WindowShape(manifest.window_us, manifest.hop_us, manifest.frame_hz)
        self._head = bundle.engines["fusion"]
        self._takes = bundle.modalities
        self._step = shared.grid_hz // manifest.frame_hz
        self._eye = shared.eyes.index_of(bundle)
        self._whole = manifest.crop is not None and manifest.crop.kind == "frame"
        self._voice = shared.encoders.voice(bundle)
        self._text = shared.encoders.text(bundle)
        text = manifest.engines.text_encoder
        self._context = 0 if text is None else text.context
        language, reads = shared.language, manifest.languages
        self.other_language = (
            language is not None and bool(reads) and language.split("-")[0].lower() not in reads
        )
        """Whether the declared language is none that it reads; one that names none takes any."""
        self._facts, self._speakers = manifest.metadata, shared.speakers

    @property
    def uses_faces(self) -> bool:
        """Whether it looks at faces, or the people around them."""
        return self._eye is not None and not self._whole

    @property
    def uses_text(self) -> bool:
        """Whether words in the declared language count."""
        return self._text is not None and not self.other_language

    def has_speech(self, window: Window, channel: int) -> bool:
        """Whether there is enough speech on a channel."""
        voiced_us = window.voiced_us_in(self.shape.window_us)[channel]
        return self._voice is not None and voiced_us >= MIN_VOICED_US

    def gather(self, window: Window, row: Subject) -> MemberInputs:
        """What counts of `row` in this expert's own window, on its own grid."""
        heard = row.channel is not None and self.has_speech(window, row.channel)
        lines: tuple[Cue, ...] = ()
        if row.cue is not None and self.uses_text:
            before = window.earlier_cues[-self._context :] if self._context else ()
            lines = (*before, row.cue)
        return MemberInputs(self._watched(window, row), row.channel if heard else None, lines)

    def _watched(self, window: Window, row: Subject) -> tuple[Array, Array] | None:
        if self._eye is None:
            return None
        if self._whole:
            there = is_recent(row.frames, window.end_us)
            found = [(s.point, s.embeddings[self._eye]) for s in row.frames if there]
        else:
            there = is_recent(row.samples, window.end_us)
            found = [
                (look.point, look.face.embeddings[self._eye])
                for look in row.samples
                if there and look.face.quality.value >= MIN_QUALITY
            ]
        first = (window.hop + 1) * self.shape.points_per_hop - self.shape.points
        own = [(p // self._step - first, e) for p, e in found if p % self._step == 0]
        own = [(place, embedding) for place, embedding in own if place >= 0]
        if not own:
            return None
        frames = np.zeros((self.shape.points, len(own[0][1])), np.float32)
        mask = np.zeros(self.shape.points, np.bool_)
        for place, embedding in own:
            frames[place], mask[place] = embedding, True
        return frames, mask

    def predict(
        self, window: Window, rows: Sequence[Subject], evidence: Sequence[MemberInputs]
    ) -> list[HeadOutputs | None]:
        """What the head says of each row; None for one of which it has nothing."""
        used = [n for n, given in enumerate(evidence) if given.modalities]
        feeds = self._feeds(window, [(rows[n].track, evidence[n]) for n in used])
        answers = iter(run_head(self._head, feeds, len(used)))
        return [next(answers) if given.modalities else None for given in evidence]

    def _feeds(
        self, window: Window, given: Sequence[tuple[int | None, MemberInputs]]
    ) -> dict[str, Array]:
        feeds: dict[str, Array] = {}
        for name in self._takes:
            _, steps, width = self._head.inputs[name].shape
            feeds[name] = np.zeros((len(given), int(steps), int(width)), np.float32)
            feeds[f"{name}_mask"] = np.zeros((len(given), int(steps)), np.bool_)
        if self._facts:
            told = [self._speakers.features(self._facts, track) for track, _ in given]
            feeds["metadata"] = np.reshape([n for n, _ in told], (-1, len(self._facts)))
            feeds["metadata_mask"] = np.reshape([k for _, k in told], (-1, len(self._facts)))
        voices = self._voices(window, given)
        for index, (_, of) in enumerate(given):
            if of.video is not None:
                feeds["video"][index], feeds["video_mask"][index] = of.video
            if of.channel is not None:
                feeds["voice"][index], feeds["voice_mask"][index] = voices[of.channel], True
            if of.utterances and self._text is not None:
                feeds["text"][index], feeds["text_mask"][index] = self._text.encode(of.utterances)
        return feeds

    def _voices(
        self, window: Window, given: Sequence[tuple[int | None, MemberInputs]]
    ) -> Mapping[int, NDArray[np.float32]]:
        channels = sorted({of.channel for _, of in given if of.channel is not None})
        return self._voice.encode(window, channels) if self._voice is not None and channels else {}


def run_head(head: Engine, feeds: Mapping[str, Array], count: int) -> list[HeadOutputs]:
    """A head's outputs for each of `count` rows, in batches of fixed sizes."""
    answers: list[HeadOutputs] = []
    for start in range(0, count, SLOTS[-1]):
        part = {name: array[start : start + SLOTS[-1]] for name, array in feeds.items()}
        rows = min(SLOTS[-1], count - start)
        out = head.run({name: padded(array, slot(rows)) for name, array in part.items()})
        answers += [{name: array[row] for name, array in out.items()} for row in range(rows)]
    return answers


def is_recent(seen: Sequence[TrackSample | FrameSample], end_us: int) -> bool:
    """Whether the newest of what was seen is recent at `end_us`."""
    return bool(seen) and end_us - seen[-1].pts_us <= ABSENT_AFTER_US
