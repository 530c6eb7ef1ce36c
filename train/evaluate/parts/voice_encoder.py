"""How well a bundle or a run hears emotions in speech: by corpus, sex, class and noise; and its cost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.labels import EMOTIONS
from affectstream.stream.media.types import SAMPLE_RATE
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.sample import decode_audio
from affectstream.train.errors import DataError
from affectstream.train.evaluate.parts.voice_models import Sounds, VoiceModel
from affectstream.train.loader.rows import corpus_of
from affectstream.train.loader.window_spec import loudest_window
from affectstream.train.metrics import classification
from affectstream.train.statistics import Interval, bootstrap, groups_of

NOISES_DB = (20, 10, 5, 0)
"""Ratios of the speech to pink noise at which it is measured."""
TIMED_RUNS = 40

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Speech:
    """Windows of prepared clips, each as it is evaluated."""

    sounds: Sounds
    """(n, L) at 16 kHz."""
    truth: Numbers
    """(n,) the number of the emotion in `EMOTIONS`."""
    corpora: NDArray[np.object_]
    people: NDArray[np.object_]
    sexes: NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Hearing:
    """How often the labels are right on some clips."""

    corpus: str
    clips: str
    """Which clips of the corpus, or how they were changed."""
    count: int
    speakers: int
    emotions: int
    """How many occur; any that was learned may be the answer."""
    accuracy: Interval
    uar: Interval


@dataclass(frozen=True, slots=True)
class VoiceReport:
    """See the module."""

    labels: tuple[str, ...]
    hearings: tuple[Hearing, ...]
    recalls: Mapping[str, Mapping[str, float]]
    """By corpus and emotion, of the clips as they are."""
    confusion: tuple[tuple[int, ...], ...]
    """Clips of each label (rows) by what was heard (columns)."""
    megabytes: float
    milliseconds: float
    """Of the voice encoder for one window on one core, processor time."""


def evaluate(
    model: VoiceModel, data: Path, splits: Sequence[str], *, changed: bool = True
) -> VoiceReport:
    """Measure `model` on `splits` of the prepared clips in `data`, on clips with an emotion.

    With `changed` also in noise and in a room. Every corpus of a joined set is measured alone. An emotion
    that was not learned is never right. Intervals draw speakers. Raises `DataMissing`, and `DataError` where
    the set lacks sound.
    """
    speech = read_speech(data, splits, model.samples)
    guesses = {"as they are": predict_labels(model, speech.sounds)}
    for ratio_db in NOISES_DB if changed else ():
        noisy = add_pink_noise(speech.sounds, ratio_db)
        guesses[f"pink noise {ratio_db} dB below"] = predict_labels(model, noisy)
    if changed:
        guesses["in a room"] = predict_labels(model, add_echo(speech.sounds))
    plain = guesses["as they are"]
    everywhere = np.ones(len(speech.truth), bool)
    hearings, recalls = [], {}
    for corpus in sorted(set(speech.corpora)):
        chosen = speech.corpora == corpus
        for clips, guess in guesses.items():
            hearings.append(_hearing(speech, guess, chosen, corpus, clips))
            if clips == "as they are":
                for sex in sorted(set(speech.sexes[chosen]) - {None}):
                    part = chosen & (speech.sexes == sex)
                    hearings.append(_hearing(speech, guess, part, corpus, f"{sex} speakers"))
        recalls[corpus] = {
            label: float((plain == number)[chosen & (speech.truth == number)].mean())
            for number, label in enumerate(EMOTIONS)
            if (chosen & (speech.truth == number)).any()
        }
    if len(recalls) > 1:
        hearings.append(_hearing(speech, plain, everywhere, "all", "as they are"))
    used = [
        number
        for number, label in enumerate(EMOTIONS)
        if label in model.labels or (speech.truth == number).any()
    ]
    confusion = np.zeros((len(EMOTIONS), len(EMOTIONS)), np.int64)
    np.add.at(confusion, (speech.truth, plain), 1)
    return VoiceReport(
        labels=tuple(EMOTIONS[number] for number in used),
        hearings=tuple(hearings),
        recalls=recalls,
        confusion=tuple(map(tuple, confusion[np.ix_(used, used)].tolist())),
        megabytes=model.megabytes,
        milliseconds=_milliseconds(model, speech.sounds[:1]),
    )


def read_speech(data: Path, splits: Sequence[str], samples: int) -> Speech:
    """The clips of `splits` that have an emotion, each cut to a window of `samples`."""
    dataset = Dataset(data, large=["audio"])
    rows = np.sort(np.concatenate([dataset.rows_of(split, task="emotion") for split in splits]))
    sounds = np.zeros((len(rows), samples), np.float32)
    for place, row in enumerate(rows.tolist()):
        blob = dataset.row(row)["audio"]
        if not blob:
            raise DataError(f"data set {dataset.info.name!r} has samples without sound")
        sounds[place] = loudest_window(decode_audio(blob), samples)
    emotions, names = dataset.column("emotion")[rows], dataset.column("id")[rows]
    return Speech(
        sounds,
        np.asarray([EMOTIONS.index(emotion) for emotion in emotions], np.int64),
        np.asarray([corpus_of(str(name)) or dataset.info.name for name in names], object),
        dataset.column("participant")[rows],
        dataset.column("gender")[rows],
    )


def predict_labels(model: VoiceModel, sounds: Sounds) -> Numbers:
    """The number in `EMOTIONS` of the most probable label (n,) for each window of sound."""
    numbers = np.asarray([EMOTIONS.index(label) for label in model.labels])
    return np.asarray(numbers[model(sounds).argmax(1)], np.int64)


def add_pink_noise(sounds: Sounds, ratio_db: float) -> Sounds:
    """Sounds (n, L) with pink noise `ratio_db` below each, from its first sample that is not zero on.

    The noise of a row depends on its number alone.
    """
    noisy = np.empty_like(sounds)
    count = sounds.shape[1]
    color = np.maximum(np.fft.rfftfreq(count), 1.0 / count) ** -0.5
    for row, sound in enumerate(sounds):
        noise = np.fft.irfft(
            np.fft.rfft(np.random.default_rng(row).normal(size=count)) * color, count
        )
        audible = np.cumsum(sound != 0) > 0
        power = float(np.mean(sound[audible] ** 2)) if audible.any() else 0.0
        scale = np.sqrt(power / np.mean(noise**2) * 10 ** (-ratio_db / 10))
        noisy[row] = sound + scale * noise * audible
    return noisy


def add_echo(sounds: Sounds, decay_s: float = 0.5) -> Sounds:
    """Sounds (n, L) in a room whose echo is as loud as the direct sound and falls by 60 dB in `decay_s`."""
    length = SAMPLE_RATE // 2
    seconds = np.arange(length) / SAMPLE_RATE
    echo = np.random.default_rng(0).normal(size=length) * np.exp(-6.9 * seconds / decay_s)
    echo[: SAMPLE_RATE // 500] = 0.0
    echo /= np.sqrt(np.sum(echo**2))
    echo[0] = 1.0
    size = sounds.shape[1] + length
    spectrum = np.fft.rfft(echo, size)
    return np.stack(
        [np.fft.irfft(np.fft.rfft(row, size) * spectrum, size)[: len(row)] for row in sounds]
    ).astype(np.float32)


def _hearing(
    speech: Speech, guess: Numbers, chosen: NDArray[np.bool_], corpus: str, clips: str
) -> Hearing:
    people = list(speech.people[chosen])
    truth = speech.truth[chosen]
    found = bootstrap(classification, truth, guess[chosen], groups=groups_of(people))
    return Hearing(
        corpus,
        clips,
        len(truth),
        len(set(people)),
        len(set(truth.tolist())),
        found["accuracy"],
        found["uar"],
    )


def _milliseconds(model: VoiceModel, sound: Sounds) -> float:
    times = []
    for _ in range(TIMED_RUNS):
        start = time.process_time()
        model.encode(sound)
        times.append(time.process_time() - start)
    return 1e3 * float(np.median(times))


def lines(report: VoiceReport) -> list[str]:
    """The report as text."""
    shown = [
        f"{'corpus':10} {'clips':24} {'n':>5} {'speakers':>8} {'emotions':>8}  "
        f"{'unweighted average recall':26}accuracy"
    ]
    shown += [
        f"{h.corpus:10} {h.clips:24} {h.count:5} {h.speakers:8} {h.emotions:8}  "
        f"{h.uar!s:26}{h.accuracy!s}"
        for h in report.hearings
    ]
    shown += ["", "recall" + "".join(f"{label[:8]:>10}" for label in report.labels)]
    for corpus, recalls in report.recalls.items():
        cells = [
            f"{recalls[label]:10.3f}" if label in recalls else f"{'':10}" for label in report.labels
        ]
        shown.append(f"{corpus[:6]:6}{''.join(cells)}")
    shown += ["", "rows: label; columns: what was heard"]
    shown.append(f"{'':10}{''.join(f'{label[:8]:>9}' for label in report.labels)}")
    for label, row in zip(report.labels, report.confusion, strict=True):
        shown.append(f"{label:10}{''.join(f'{count:9}' for count in row)}")
    return [
        *shown,
        "",
        f"{report.megabytes:.2f} MB; {report.milliseconds:.2f} ms for one window on one core",
    ]
