"""Whose face, voice and words: the subjects of one window, each with what belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from affectstream.stream.events import MAX_NAME_CHARS, AssignedBy
from affectstream.stream.fusion.speaking import Speaking, SpeakingMouths
from affectstream.stream.media.types import Cue
from affectstream.stream.options import Assignment
from affectstream.stream.voices.turns import VoiceTurns
from affectstream.stream.windowing.windows import (
    ABSENT_AFTER_US,
    FrameSample,
    TrackSample,
    Window,
)


@dataclass(slots=True)
class Subject:
    """The subject of one reading: a track, or (`track` None) the recording as a whole."""

    track: int | None
    samples: tuple[TrackSample, ...] = ()
    frames: tuple[FrameSample, ...] = ()
    channel: int | None = None
    """The channel of sound with the voice of this subject."""
    cue: Cue | None = None
    voice: str | None = None
    """Who is heard, by the sound of the voice."""
    assigned_by: AssignedBy | None = None

    @property
    def speaker(self) -> str | None:
        """Who speaks, by the transcript or else by the voice, where no track does."""
        if self.track is not None:
            return None
        if self.cue is None or self.cue.speaker is None:
            return self.voice
        return self.cue.speaker[:MAX_NAME_CHARS]


class SubjectAssigner:
    """Assigns the voices and words of a window to tracks, or to the recording."""

    def __init__(
        self,
        assignment: Assignment,
        frame_hz: int,
        points_per_hop: int,
        *,
        has_voice: bool,
        turns: VoiceTurns | None = None,
    ) -> None:
        """`has_voice` says whether the source can give a voice at all; `turns` whose it is, where known."""
        self._turns = turns
        self._assignment = assignment
        self._sides = (assignment.channels or ()) if has_voice else ()
        self._mouths = SpeakingMouths(frame_hz, points_per_hop)
        self._cue: Cue | None = None
        self._cue_speaking = Speaking()
        """Who spoke when the current cue ended: its words stay with that person."""

    def assign(
        self, window: Window, *, uses_faces: bool, speech_channels: Sequence[int], uses_text: bool
    ) -> list[Subject]:
        """One subject for each track in order of its number, and last the recording.

        The tracks are those in view, and those with a side of the sound, in view or not.
        `speech_channels` are the channels with enough speech.
        """
        in_view = window.tracks if uses_faces else {}
        subjects = {
            track: Subject(track, in_view.get(track, ()))
            for track in sorted({*in_view, *self._sides})
        }
        recording = Subject(None)
        present = [track for track in in_view if is_recent(in_view[track], window.end_us)]

        voiced = any(map(window.has_recent_speech, range(len(window.voiced_us))))
        speaking = self._mouths.push(window, present, voiced=voiced)
        if window.cue != self._cue:
            self._cue, self._cue_speaking = window.cue, speaking

        def owner(channel: int | None, speaking: Speaking) -> tuple[Subject, AssignedBy | None]:
            track, by = self._owner(window.cue, channel, present, speaking)
            return (subjects[track], by) if track in subjects else (recording, None)

        for channel in speech_channels:
            subject, by = owner(channel if self._assignment.channels else None, speaking)
            subject.channel, subject.assigned_by = channel, by
        if window.cue is not None and uses_text:
            subject, by = owner(None, self._cue_speaking)
            subject.cue, subject.assigned_by = window.cue, by or subject.assigned_by
        if self._turns is not None and recording.channel is not None:
            recording.voice = self._turns.at((window.start_us + window.end_us) // 2)
        if window.frames:  # a whole picture shows the only person who is in it
            (subjects[present[0]] if len(present) == 1 else recording).frames = window.frames
        return [*subjects.values(), recording]

    def voiced_us(self, window: Window, subject: Subject) -> int:
        """How much speech there is on the subject's channel or side, or else on any channel."""
        if subject.channel is not None:
            return window.voiced_us[subject.channel]
        sides = self._assignment.channels or ()
        own = [
            us for us, track in zip(window.voiced_us, sides, strict=False) if track == subject.track
        ]
        return max(own or window.voiced_us, default=0)

    def _owner(
        self,
        cue: Cue | None,
        channel: int | None,
        present: Sequence[int],
        speaking: Speaking,
    ) -> tuple[int | None, AssignedBy | None]:
        if self._assignment.everything is not None:
            return self._assignment.everything, "option"
        if channel is not None and self._assignment.channels is not None:
            return self._assignment.channels[channel], "channel"
        if cue is not None and cue.speaker is not None and cue.speaker in self._assignment.names:
            return self._assignment.names[cue.speaker], "transcript"
        if self._assignment.names or self._assignment.channels:
            return None, None
        if speaking.speaker in present:
            return speaking.speaker, "mouth"
        if len(present) == 1 and not speaking.contradicts(present[0]):
            return present[0], "only_track"
        return None, None


def is_recent(samples: Sequence[TrackSample | FrameSample], end_us: int) -> bool:
    """Whether the newest of `samples` is no older than `ABSENT_AFTER_US` at `end_us`."""
    return bool(samples) and end_us - samples[-1].pts_us <= ABSENT_AFTER_US
