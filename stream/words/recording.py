"""The words of a recording: its speech is cut out, recognized in batches, and written as a transcript.

    sound ──► SpeechCutter ──► spans of up to 28 s ──► recognizer ──► cues ──► words.vtt

The transcript names a hash of the sound, the recognizer and the options. Where a file of the same hash stands
already, it is taken as it is.
"""

from __future__ import annotations

import hashlib
import html
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.cache.atomic import write_atomic
from affectstream.stream.media.sound import read_mono, read_sound
from affectstream.stream.media.types import SAMPLE_RATE, Cue, Samples, sample_time_us
from affectstream.stream.options import SourceOptions
from affectstream.stream.transcript.files import Transcript, read_transcript
from affectstream.stream.windowing.sound_timeline import SoundTimeline
from affectstream.stream.words.asr import Transcription, Word
from affectstream.stream.words.opening import RecordingRecognizer
from affectstream.stream.words.speech import SpeechCutter

WORDS_FILE = "words.vtt"
"""Its name in a folder of results."""
BATCH = 8
"""Spans recognized together."""
SPAN_S = 28.0
"""Whisper takes 30 s at a time, and works as long for less."""
MARGIN_S = 0.4
"""Sound before and after a span: Whisper misses words that begin at once."""
_HELD_S = 15
"""An utterance is found at most this late: `SpeechCutter` cuts after 10 s."""
_MAX_GAP_S = 2.0
"""A longer pause ends a span."""
_PAUSE_S, _MAX_CUE_S = 0.7, 6.0
"""A pause between words, or a sentence, ends a cue, and so does the next word after `_MAX_CUE_S`: words count
from the end of their cue on."""
_SENTENCE_END = re.compile(r"[.!?…][\"')\]]*$")
_FORMAT = 1
"""Of the transcripts; another one makes earlier files invalid."""
_NOTE = re.compile(r"NOTE affectstream words ([0-9a-f]{64}) language=([a-z]{2,3}|unknown)\s")


@dataclass(frozen=True, slots=True)
class _Span:
    """Sound (n,) float32 from sample `start` on, with speech in it."""

    start: int
    data: NDArray[np.float32]


def recognize_recording(
    path: Path, options: SourceOptions, recognizer: RecordingRecognizer, file: Path | None
) -> Transcript:
    """The words of the recording at `path`, or of the part that the options select.

    With `file` the transcript is kept there, and taken from there if it belongs to the same sound, recognizer
    and options. Raises `SourceError` for a recording that cannot be read.
    """
    key = _key(path, options, recognizer)
    if file is not None and (kept := _read(file, key)) is not None:
        return kept
    cues: list[tuple[Cue, tuple[Word, ...]]] = []
    languages: dict[str, int] = {}
    for batch in _batches(_spans(path, options)):
        for span, found in zip(
            batch, recognizer.transcribe_many([span.data for span in batch]), strict=True
        ):
            for one in found:
                cues += _cues(one, span)
                if one.language is not None:
                    languages[one.language] = languages.get(one.language, 0) + len(one.text)
    language = max(languages, key=lambda name: languages[name], default=None)
    text = _as_vtt(cues, key, language)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, text.encode())
        kept = _read(file, key)
    else:
        with tempfile.TemporaryDirectory(prefix="affectstream-") as folder:
            scratch = Path(folder) / WORDS_FILE
            scratch.write_text(text, encoding="utf-8")
            kept = _read(scratch, key)
    assert kept is not None
    return kept


def _key(path: Path, options: SourceOptions, recognizer: RecordingRecognizer) -> str:
    """A hash of everything that decides on the words."""
    made_of = (_FORMAT, recognizer.identity, options.language, options.vad)
    digest = hashlib.sha256(repr(made_of).encode())
    for run in read_sound(path, options):
        digest.update(f"{run.start}:".encode() + run.data.tobytes())
    return digest.hexdigest()


def _spans(path: Path, options: SourceOptions) -> Iterator[_Span]:
    """The sound of utterances that follow each other closely, with the pauses between them."""
    cutter, timeline = SpeechCutter(vad=options.vad), SoundTimeline()
    margin, end = round(MARGIN_S * SAMPLE_RATE), 0
    held: list[Samples] = []

    def join() -> _Span:
        start, stop = max(0, held[0].start - margin), held[-1].end + margin
        return _Span(start, np.ascontiguousarray(timeline.window(start, stop)[:, 0]))

    for piece in read_mono(path, options):
        timeline.push(piece)
        end = piece.end
        for one in cutter.push(piece):
            if held and _is_apart(held, one):
                yield join()
                held = []
            held.append(one)
        first_needed = held[0].start if held else piece.end - _HELD_S * SAMPLE_RATE
        timeline.forget(max(0, first_needed - margin))
    silence = Samples(end, np.zeros((SAMPLE_RATE, 1), np.float32))  # ends the last utterance
    timeline.push(silence)
    for one in cutter.push(silence):
        if held and _is_apart(held, one):
            yield join()
            held = []
        held.append(one)
    if held:
        yield join()


def _is_apart(held: Sequence[Samples], one: Samples) -> bool:
    """Whether an utterance does not belong into the span of those before it."""
    gap_s = (one.start - held[-1].end) / SAMPLE_RATE
    return gap_s > _MAX_GAP_S or (one.end - held[0].start) / SAMPLE_RATE > SPAN_S


def _batches(spans: Iterable[_Span]) -> Iterator[list[_Span]]:
    batch: list[_Span] = []
    for span in spans:
        batch.append(span)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _cues(one: Transcription, span: _Span) -> Iterator[tuple[Cue, tuple[Word, ...]]]:
    """Cues of a sentence or a phrase each, with the times of their words."""
    first_us = sample_time_us(span.start)
    last_us = sample_time_us(span.start + len(span.data))

    def at_us(seconds: float) -> int:
        """Whole milliseconds, as a transcript can hold them, within the span."""
        t_us = min(max(first_us + round(seconds * 1e6), first_us), last_us)
        return round(t_us / 1000) * 1000

    words = one.words or (Word(one.start_s, one.end_s, one.text),)
    placed = [Word(at_us(w.start_s) / 1e6, at_us(w.end_s) / 1e6, w.text.strip()) for w in words]
    for part in _phrases([word for word in placed if word.text]):
        start_us, end_us = round(part[0].start_s * 1e6), round(part[-1].end_s * 1e6)
        text = " ".join(word.text for word in part)
        yield Cue(start_us, max(end_us, start_us + 1000), text), tuple(part)


def _phrases(words: Sequence[Word]) -> Iterator[list[Word]]:
    part: list[Word] = []
    for word, following in pairwise([*words, None]):
        assert word is not None
        part.append(word)
        if (
            following is None
            or _SENTENCE_END.search(word.text)
            or following.start_s - word.end_s >= _PAUSE_S
            or following.end_s - part[0].start_s > _MAX_CUE_S
        ):
            yield part
            part = []


def _as_vtt(cues: Sequence[tuple[Cue, tuple[Word, ...]]], key: str, language: str | None) -> str:
    """A WebVTT file; the time of each word stands before it."""
    lines = ["WEBVTT", "", f"NOTE affectstream words {key} language={language or 'unknown'}", ""]
    for cue, words in sorted(cues, key=lambda pair: (pair[0].end_us, pair[0].start_us)):
        spoken = " ".join(
            (f"<{_time(round(word.start_s * 1e6))}>" if number else "")
            + html.escape(word.text, False)
            for number, word in enumerate(words)
        )
        lines += [f"{_time(cue.start_us)} --> {_time(cue.end_us)}", spoken, ""]
    return "\n".join(lines)


def _time(t_us: int) -> str:
    seconds, milliseconds = divmod(round(t_us / 1000), 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{milliseconds:03}"


def _read(file: Path, key: str) -> Transcript | None:
    """The transcript in `file`; None if it is not there or belongs to something else."""
    with suppress(OSError, UnicodeDecodeError):
        note = _NOTE.search(file.read_text(encoding="utf-8")[:1000])
        if note is not None and note[1] == key:
            language = None if note[2] == "unknown" else note[2]
            return Transcript(read_transcript(file).cues, language)
    return None
