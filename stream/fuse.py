"""From a window to readings: who gets which modality, the head, and calibrated probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle import MODALITIES, Bundle
from affectstream.engines.spec import SLOTS, Array, padded, slot
from affectstream.stream.align import Tracked, Window, WindowShape
from affectstream.stream.attention import ABSENT_AFTER_US
from affectstream.stream.encode import TextEncoder, VoiceEncoder
from affectstream.stream.faces.quality import MIN_QUALITY
from affectstream.stream.media import Cue
from affectstream.stream.options import Assignment

MIN_VOICED_US = 500_000
"""Less speech than this in a window is no evidence: the voice counts as absent."""

SCORE_DECIMALS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What the head said of one track, or of the recording (`track` None), at one hop.

    `scores` are probabilities in the order of the bundle's labels, rounded to 4 decimals, None where
    there was nothing to read; `label` is None when abstaining, and `abstain` then says why. `look`
    is the newest face of the hop.
    """

    hop: int
    start_us: int
    end_us: int
    track: int | None
    modalities: tuple[str, ...]
    scores: tuple[float, ...] | None
    label: str | None
    confidence: float | None
    abstain: str | None
    assigned_by: str | None
    look: Tracked | None
    voiced: float
    valence: float | None = None
    engagement: float | None = None


@dataclass(slots=True)
class _Row:
    """One line of the head's batch while it is put together."""

    track: int | None
    looks: tuple[Tracked, ...] = ()
    fault: str | None = None
    video: tuple[Array, Array] | None = None
    voice: int | None = None  # channel
    cue: Cue | None = None
    assigned_by: str | None = None

    @property
    def modalities(self) -> tuple[str, ...]:
        have = {
            "video": self.video is not None,
            "voice": self.voice is not None,
            "text": self.cue is not None,
        }
        return tuple(m for m in MODALITIES if have[m])


class Fuser:
    """The head of one bundle over the windows of one source."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        assignment: Assignment,
        language: str | None = None,
        sources: Sequence[str] = MODALITIES,
    ) -> None:
        """`sources` are the modalities that the recording can give at all."""
        manifest = bundle.manifest
        self._labels = manifest.labels
        self._shape = WindowShape(manifest.window_us, manifest.hop_us, manifest.frame_hz)
        self._calibration = manifest.calibration
        self._log_prior = np.log(np.asarray(manifest.calibration.prior, np.float64))
        self._head = bundle.engines["fusion"]
        self._takes = bundle.modalities
        self._assignment = assignment
        self._sources = tuple(sources)
        self._foreign = (
            language is not None and language.split("-")[0].lower() not in manifest.languages
        )
        self._voice = VoiceEncoder(bundle) if "voice" in self._takes else None
        self._text = TextEncoder(bundle) if "text" in self._takes else None

    def push(self, window: Window) -> list[Reading]:
        """Readings of one hop: each track's in order of its number, then the recording's."""
        rows = self._rows(window)
        voices = self._voices(window, rows)
        outputs = self._run(rows, voices)
        return [self._reading(window, row, out) for row, out in zip(rows, outputs, strict=True)]

    def _rows(self, window: Window) -> list[_Row]:
        rows = {track: self._track_row(window, track) for track in window.looks}
        alone = [t for t, looks in window.looks.items() if _present(looks, window.end_us)]
        recording = _Row(None)

        def owner(cue: Cue | None, channel: int | None) -> tuple[_Row, str | None]:
            track, by = self._owner(cue, channel, alone)
            return (rows[track], by) if track in rows else (recording, None)

        for channel, voiced_us in enumerate(window.voiced_us):
            if self._voice is not None and voiced_us >= MIN_VOICED_US:
                row, by = owner(window.cue, channel if self._assignment.channels else None)
                if row.voice is None:
                    row.voice, row.assigned_by = channel, by
        if self._text is not None and window.cue is not None and not self._foreign:
            row, by = owner(window.cue, None)
            row.cue, row.assigned_by = window.cue, by or row.assigned_by
        if recording.modalities or not rows:
            recording.fault = self._nothing(window)
            return [*rows.values(), recording]
        return list(rows.values())

    def _owner(
        self, cue: Cue | None, channel: int | None, alone: Sequence[int]
    ) -> tuple[int | None, str | None]:
        if self._assignment.everything is not None:
            return self._assignment.everything, "option"
        if channel is not None and self._assignment.channels is not None:
            return self._assignment.channels[channel], "channel"
        if cue is not None and cue.speaker is not None and cue.speaker in self._assignment.names:
            return self._assignment.names[cue.speaker], "transcript"
        if len(alone) == 1 and not self._assignment.names:
            return alone[0], "only_track"
        return None, None

    def _track_row(self, window: Window, track: int) -> _Row:
        looks = window.looks[track]
        if not _present(looks, window.end_us):
            return _Row(track, fault="no_face")
        good = [look for look in looks if look.face.quality.value >= MIN_QUALITY]
        if not good:
            return _Row(track, looks, fault=looks[-1].face.quality.fault)
        frames = np.zeros((self._shape.points, len(good[0].face.embedding)), np.float32)
        mask = np.zeros(self._shape.points, np.bool_)
        first = (window.hop + 1) * self._shape.points_per_hop - self._shape.points
        for look in good:
            frames[look.point - first] = look.face.embedding
            mask[look.point - first] = True
        return _Row(track, looks, video=(frames, mask))

    def _nothing(self, window: Window) -> str:
        """Why there is nothing to read about the recording as a whole."""
        if "video" in self._sources:
            return "no_face"
        if "voice" in self._sources:
            return "no_speech"
        return "language" if self._foreign else "no_words"

    def _voices(self, window: Window, rows: Sequence[_Row]) -> dict[int, NDArray[np.float32]]:
        channels = sorted({row.voice for row in rows if row.voice is not None})
        if self._voice is None or not channels:
            return {}
        found = self._voice.encode(np.ascontiguousarray(window.sound[:, channels].T))
        return dict(zip(channels, found, strict=True))

    def _run(
        self, rows: Sequence[_Row], voices: dict[int, NDArray[np.float32]]
    ) -> list[dict[str, Array] | None]:
        """The head's outputs for each row; None for one without any modality."""
        used = [row for row in rows if row.modalities]
        outputs: list[dict[str, Array]] = []
        for start in range(0, len(used), SLOTS[-1]):
            part = used[start : start + SLOTS[-1]]
            size = slot(len(part))
            out = self._head.run({n: padded(a, size) for n, a in self._feeds(part, voices).items()})
            outputs += [{name: array[i] for name, array in out.items()} for i in range(len(part))]
        answers = iter(outputs)
        return [next(answers) if row.modalities else None for row in rows]

    def _feeds(
        self, rows: Sequence[_Row], voices: dict[int, NDArray[np.float32]]
    ) -> dict[str, Array]:
        feeds: dict[str, Array] = {}
        for name in self._takes:
            _, steps, width = self._head.inputs[name].shape
            feeds[name] = np.zeros((len(rows), int(steps), int(width)), np.float32)
            feeds[f"{name}_mask"] = np.zeros((len(rows), int(steps)), np.bool_)
        for index, row in enumerate(rows):
            if row.video is not None:
                feeds["video"][index], feeds["video_mask"][index] = row.video
            if row.voice is not None:
                feeds["voice"][index, 0], feeds["voice_mask"][index, 0] = voices[row.voice], True
            if row.cue is not None and self._text is not None:
                feeds["text"][index, 0], feeds["text_mask"][index, 0] = (
                    self._text.encode(row.cue),
                    True,
                )
        return feeds

    def _reading(self, window: Window, row: _Row, out: dict[str, Array] | None) -> Reading:
        now = [look for look in row.looks if look.point >= window.hop * self._shape.points_per_hop]
        reading = Reading(
            hop=window.hop,
            start_us=window.start_us,
            end_us=window.end_us,
            track=row.track,
            modalities=row.modalities,
            scores=None,
            label=None,
            confidence=None,
            abstain=row.fault,
            assigned_by=row.assigned_by,
            look=now[-1] if now else None,
            voiced=self._voiced_us(window, row) / self._shape.window_us,
        )
        if out is None:
            return reading
        scores = self.probabilities(out["logits"], row.modalities)
        best = int(np.argmax(scores))
        confidence = scores[best]
        sure = confidence >= self._calibration.min_confidence.get("+".join(row.modalities), 0.0)
        return replace(
            reading,
            scores=scores,
            label=self._labels[best] if sure else None,
            confidence=confidence,
            abstain=None if sure else "low_confidence",
            valence=_scalar(out, "valence"),
            engagement=_scalar(out, "engagement"),
        )

    def _voiced_us(self, window: Window, row: _Row) -> int:
        """How much speech there is on the side of the one that a reading is about, or at all."""
        if row.voice is not None:
            return window.voiced_us[row.voice]
        sides = self._assignment.channels or ()
        own = [us for us, track in zip(window.voiced_us, sides, strict=False) if track == row.track]
        return max(own or window.voiced_us, default=0)

    def probabilities(self, logits: Array, modalities: Sequence[str]) -> tuple[float, ...]:
        """Calibrated probabilities of one row of logits (C,), rounded."""
        temperature = self._calibration.temperature.get("+".join(modalities), 1.0)
        scaled = logits.astype(np.float64) / temperature + self._log_prior
        weights = np.exp(scaled - scaled.max())
        return tuple(round(float(p), SCORE_DECIMALS) for p in weights / weights.sum())


def _present(looks: Sequence[Tracked], end_us: int) -> bool:
    return bool(looks) and end_us - looks[-1].pts_us <= ABSENT_AFTER_US


def _scalar(out: dict[str, Array], name: str) -> float | None:
    return round(float(out[name].reshape(-1)[0]), SCORE_DECIMALS) if name in out else None
