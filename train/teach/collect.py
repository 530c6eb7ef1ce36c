"""Runs a bundle over coded recordings, as `score` does, and keeps what its head was given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.errors import BundleError
from affectstream.engines.graphs.batching import run_in_batches
from affectstream.engines.graphs.wrapper import EngineWrapper
from affectstream.engines.labels import MODALITIES, Modality
from affectstream.engines.spec import Array, Engine
from affectstream.stream import Recognizer, SourceOptions
from affectstream.stream.fusion.reading import Reading
from affectstream.stream.offline.session import Session
from affectstream.train.annotations.annotations import Stretch
from affectstream.train.errors import DataError
from affectstream.train.teach.coded import CodedPerson, CodedRecording
from affectstream.train.teach.hops import Evidence, Hops, frame_weights, pooled

Feeds = dict[str, Array]
TOLERANCE_S = 0.5
"""A stretch may end this much after the recording: players and files round differently."""
KEPT = 64
"""Rows of feeds that are kept of each recording, to check the new head."""
CROWDED = 0.1
"""With more than this share of a person's coded hops among several people, the track has to be named."""


@dataclass(slots=True)
class Found:
    """What came of one recording."""

    hops: Hops
    feeds: Feeds
    """Up to `KEPT` rows of what the head takes, for checks."""
    missed: Counter[str]
    """How many coded hops cannot be used, by the reason."""


class _Recorder(EngineWrapper):
    """An engine that keeps what it is given and what it gives."""

    def __init__(self, inner: Engine) -> None:
        super().__init__(inner)
        self.calls: list[tuple[Mapping[str, Array], Mapping[str, Array]]] = []

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        outputs = self.inner.run(feeds)
        self.calls.append((feeds, outputs))
        return outputs

    def take(self, count: int) -> list[tuple[Feeds, Array]]:
        """The first `count` rows since the last call, each with its logits (C,)."""
        rows = [
            ({name: array[n] for name, array in feeds.items()}, outputs["logits"][n])
            for feeds, outputs in self.calls
            for n in range(len(outputs["logits"]))
        ]
        self.calls.clear()
        return rows[:count]


class Collector:
    """Collects the coded hops of recordings with an open bundle."""

    def __init__(
        self, recognizer: Recognizer, labels: Sequence[str], options: SourceOptions
    ) -> None:
        """`labels` are those of the bundle, then new ones. Raises `BundleError` for a bundle whose head
        cannot be taught."""
        check_teachable(recognizer.bundle)
        self._recognizer, self._labels, self._options = recognizer, tuple(labels), options
        self._head = recognizer.bundle.engines["fusion"]
        self._recorder = _Recorder(self._head)
        engines = {**recognizer.bundle.all_engines, "fusion": self._recorder}
        self._bundle = recognizer.bundle.with_engines(engines)

    def collect(self, coded: CodedRecording) -> Found:
        """The coded hops of one recording.

        Raises `SourceError` for a recording that cannot be scored, `DataError` for a stretch beyond its end
        and for a person who is not in it.
        """
        options = replace(self._options, end_us=round(coded.end_s * 1e6) + 1)
        with Session(self._bundle, coded.path, options, self._recognizer.threads) as session:
            _check_end(coded, session.info.duration_us)
            rows: list[tuple[Feeds, Array]] = []
            where: list[tuple[CodedPerson, str, float]] = []
            missed: Counter[str] = Counter()
            tally = {one.person: _Tally() for one in coded.people}
            for hop in session:
                every = [reading for reading, _ in hop.readings]
                readings = [reading for reading in every if reading.modalities]
                taken = self._recorder.take(len(readings))
                if not every:
                    continue
                for one in coded.people:
                    label = _label_of(one.coding.stretches, every[0])
                    if label is None:
                        continue
                    tally[one.person].coded += 1
                    mine = [n for n, r in enumerate(readings) if one.is_about(r, readings)]
                    if len(mine) == 1:
                        tally[one.person].used += 1
                        rows.append(taken[mine[0]])
                        where.append((one, label, every[0].start_us / 1e6))
                    elif one.track is None and len(readings) > 1:
                        tally[one.person].crowded += 1
                    else:
                        missed[_why_missing(one, every)] += 1
        for one in coded.people:
            _check_found(coded.name, one, tally[one.person])
        return self._found(coded, rows, where, missed)

    def _found(
        self,
        coded: CodedRecording,
        rows: Sequence[tuple[Feeds, Array]],
        where: Sequence[tuple[CodedPerson, str, float]],
        missed: Counter[str],
    ) -> Found:
        feeds = {name: np.stack([row[name] for row, _ in rows]) for name in rows[0][0]}
        numbers = {label: n for n, label in enumerate(self._labels)}
        hops = Hops(
            labels=self._labels,
            evidence=evidence_of(
                self._recognizer.bundle, feeds, np.stack([logits for _, logits in rows])
            ),
            truth=np.array([numbers[label] for _, label, _ in where]),
            person=np.array([one.person for one, _, _ in where]),
            recording=np.full(len(where), coded.name),
            seconds=np.array([t for _, _, t in where]),
        )
        picked = np.linspace(0, len(rows) - 1, min(KEPT, len(rows))).astype(int)
        return Found(hops, {name: array[picked] for name, array in feeds.items()}, missed)


@dataclass(slots=True)
class _Tally:
    coded: int = 0
    used: int = 0
    crowded: int = 0


def check_teachable(bundle: Bundle) -> None:
    """Raise `BundleError` for a bundle whose head cannot be taught: with members, or without logits."""
    name = bundle.manifest.name
    if bundle.members:
        raise BundleError(
            f"bundle {name!r} has members ({', '.join(bundle.manifest.members)}): teach one of them, and "
            "join them again (train fit --recipe late_fusion)"
        )
    if not bundle.manifest.labels or "logits" not in bundle.engines["fusion"].outputs:
        raise BundleError(
            f"bundle {name!r} has a head without logits of emotions: nothing can be taught"
        )


def pooling(bundle: Bundle, modality: Modality) -> NDArray[np.float32]:
    """(T,) the weights of the steps of a modality when its embeddings are pooled: recent frames count more,
    steps of voice and words alike."""
    steps = int(bundle.engines["fusion"].inputs[modality].shape[1])
    if modality == "video":
        return frame_weights(steps, bundle.manifest.frame_hz)
    return np.ones(steps, np.float32)


def evidence_of(bundle: Bundle, feeds: Feeds, logits: Array) -> Evidence:
    """What the head of `bundle` says of n hops, from its `feeds` and `logits` (n, C)."""
    head = bundle.engines["fusion"]
    modalities = tuple(m for m in MODALITIES if m in head.inputs)
    present = {m: np.asarray(feeds[f"{m}_mask"].any(1), np.bool_) for m in modalities}
    return Evidence(
        logits=logits.astype(np.float64),
        alone={m: _alone(head, feeds, m, present[m]) for m in modalities},
        embeddings={
            m: pooled(feeds[m], feeds[f"{m}_mask"], pooling(bundle, m)) for m in modalities
        },
        present=present,
    )


def _alone(
    head: Engine, feeds: Feeds, modality: Modality, present: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """What a head says of one modality alone, (n, C); zeros where it is absent."""
    found = np.zeros((len(present), int(head.outputs["logits"].shape[-1])))
    count = int(present.sum())
    if count:
        hidden = {name for m in MODALITIES if m != modality for name in (m, f"{m}_mask")}
        masked = {
            name: np.zeros_like(array[present]) if name in hidden else array[present]
            for name, array in feeds.items()
        }
        found[present] = np.stack([row["logits"] for row in run_in_batches(head, masked, count)])
    return found


def _label_of(stretches: Sequence[Stretch], reading: Reading) -> str | None:
    """The label of the stretch that holds a whole hop; None for a hop on a border or outside."""
    start, end = reading.start_us / 1e6, reading.end_us / 1e6
    for stretch in stretches:
        if stretch.start <= start + 1e-6 and end <= stretch.end + 1e-6:
            return stretch.label
    return None


def _why_missing(one: CodedPerson, readings: Sequence[Reading]) -> str:
    own = [reading for reading in readings if reading.track == one.track]
    return next((str(reading.abstain) for reading in own if reading.abstain), "out of view")


def _check_end(coded: CodedRecording, duration_us: int | None) -> None:
    if duration_us is None:
        return
    for one in coded.people:
        for start, end, label in one.coding.stretches:
            if end > duration_us / 1e6 + TOLERANCE_S:
                raise DataError(
                    f"{coded.name}: {label!r} is coded from {start:g} to {end:g} s, but {coded.path.name} is "
                    f"{duration_us / 1e6:g} s long: are these the annotations of another recording, or on "
                    "another clock?"
                )


def _check_found(recording: str, one: CodedPerson, tally: _Tally) -> None:
    """Raise `DataError` if nothing of a coded person can be used."""
    first, last = one.coding.stretches[0].start, one.coding.stretches[-1].end
    who = one.coding.person or "somebody"
    if tally.crowded > CROWDED * max(1, tally.coded):
        raise DataError(
            f"{recording}: in {tally.crowded} of {tally.coded} coded hops several people are seen or heard, "
            f"and nothing says which of them {who!r} is: name the track as in the results, with --person "
            f"'{one.coding.person or 'NAME'}=1', or name the tier 'person 1 emotion'"
        )
    if not tally.used:
        what = "whoever is alone in view" if one.track is None else f"track {one.track}"
        raise DataError(
            f"{recording}: {who!r} is coded from {first:g} to {last:g} s, and {what} is never seen nor heard "
            "then: expected the track numbers of a score of this bundle with these options"
        )
