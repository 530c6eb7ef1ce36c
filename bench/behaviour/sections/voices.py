"""Whose voice is it, where nobody is seen? Made-up conversations of people of one corpus.

Each turn is one to four sentences of somebody, in whatever emotion they come. That is harder than talk, in
which people sound alike from one sentence to the next. The clustering was tuned on other speakers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from affectstream.bench.behaviour import intervals
from affectstream.bench.behaviour.material.media import Sound, read_sound, write_sound
from affectstream.bench.behaviour.material.sounds import at_level
from affectstream.bench.behaviour.report import Measure, NotMeasured, Report
from affectstream.bench.behaviour.sections.nonspeech import trim
from affectstream.bench.behaviour.workbench import Workbench
from affectstream.stream.media.types import SAMPLE_RATE
from affectstream.stream.options import SourceOptions
from affectstream.stream.voices.turns import VoiceTurns, find_turns

_SECONDS = 60
_SPEAKERS = (1, 2, 2, 3)
"""How many take part in the conversations of one corpus."""
_SENTENCES = 12
"""Of each speaker."""
_STEP = SAMPLE_RATE // 10
_DBFS = -26.0


@dataclass(frozen=True, slots=True)
class Conversation:
    """Tenths of a second with speech: of how many the voice was right, and whether the count was."""

    right: int
    spoken: int
    alone: int
    """Right if all had been one voice."""
    counted: bool


def measure(bench: Workbench) -> Report:
    """Shares of speech with the right voice, with the number of voices known and unknown."""
    conversations = [
        write_conversation(bench.folder / f"{corpus}_{number}.wav", people, count, number)
        for corpus, people in read_people(bench.data).items()
        for number, count in enumerate(_SPEAKERS)
        if count <= len(people)
    ]
    if not conversations:
        raise NotMeasured("none of ravdess, emodb and nemo is in the data folder")
    measures: list[Measure] = []
    for known in (False, True):
        found = [hear(path, spoken, known=known) for path, spoken in conversations]
        spoken = sum(one.spoken for one in found)
        name = "number of voices given" if known else "number of voices not given"
        measures.append(
            Measure(
                f"{name}: speech with the right voice",
                _share(found),
                spoken,
                "%",
                intervals.bootstrap(_share, found),
            )
        )
        if not known:
            one_voice = 100 * sum(one.alone for one in found) / spoken
            right = 100 * sum(one.counted for one in found) / len(found)
            measures += [
                Measure("number of voices not given: it is right", right, len(found), "%"),
                Measure("if all were one voice", one_voice, spoken, "%"),
            ]
    return Report(tuple(measures))


def _share(found: Sequence[Conversation]) -> float:
    return 100 * sum(one.right for one in found) / max(1, sum(one.spoken for one in found))


def read_people(data: Path) -> dict[str, list[list[Path]]]:
    """The sentences of each speaker of each corpus on whom nothing was tuned."""
    emodb = sorted((data / "emodb" / "wav").glob("*.flac"))
    found = {
        "ravdess": [
            sorted(f.glob("*.flac")) for f in sorted((data / "ravdess").glob("Actor_*"))[10:]
        ],
        "emodb": [
            [path for path in emodb if path.name.startswith(speaker)]
            for speaker in sorted({path.name[:2] for path in emodb})[4:]
        ],
        "nemo": [sorted(f.glob("*.ogg")) for f in sorted((data / "nemo").glob("*/"))[3:]],
    }
    return {name: [paths for paths in people if paths] for name, people in found.items()}


def write_conversation(
    path: Path, people: Sequence[Sequence[Path]], count: int, seed: int
) -> tuple[Path, NDArray[np.int64]]:
    """A conversation of `count` of `people`; who speaks in each tenth of a second, -1 for nobody."""
    rng = random.Random(seed)
    sentences = [_sentences(person, rng) for person in rng.sample(list(people), count)]
    parts: list[Sound] = []
    spoken: list[NDArray[np.int64]] = []
    speaker = 0
    while sum(map(len, parts)) < _SECONDS * SAMPLE_RATE:
        for _ in range(rng.randint(1, 4)):
            sentence = rng.choice(sentences[speaker])
            pause = np.zeros(rng.randint(1, 5) * _STEP, np.float32)
            parts += [sentence, pause]
            spoken += [np.full(len(sentence), speaker), np.full(len(pause), -1)]
        speaker = (speaker + rng.randint(1, max(1, count - 1))) % count
    return write_sound(path, np.concatenate(parts)), np.concatenate(spoken)[_STEP // 2 :: _STEP]


def _sentences(paths: Sequence[Path], rng: random.Random) -> list[Sound]:
    chosen = rng.sample(list(paths), min(_SENTENCES, len(paths)))
    return [at_level(trim(read_sound(path)), _DBFS) for path in chosen]


def hear(path: Path, spoken: NDArray[np.int64], *, known: bool) -> Conversation:
    """Tell the voices of a conversation apart, and compare with who spoke."""
    count = int(spoken.max()) + 1
    turns = find_turns(path, SourceOptions(voices=count if known else "auto"))
    right = _most_agreeing(turns, spoken, count)
    alone = max(int(np.sum(spoken == speaker)) for speaker in range(count))
    return Conversation(right, int(np.sum(spoken >= 0)), alone, turns.count == count)


def _most_agreeing(turns: VoiceTurns, spoken: NDArray[np.int64], count: int) -> int:
    """Tenths of a second in which voice and speaker agree, for the best pairing of voices and speakers."""
    agreeing = np.zeros((max(1, turns.count), count))
    for tenth, speaker in enumerate(spoken.tolist()):
        voice = turns.at(tenth * 100_000 + 50_000)
        if speaker >= 0 and voice is not None:
            agreeing[int(voice.removeprefix("voice ")) - 1, speaker] += 1
    return int(agreeing[linear_sum_assignment(-agreeing)].sum())
