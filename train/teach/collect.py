"""Runs a bundle over coded recordings, as `score` does, and keeps what its head was given."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.shapes import ENCODER_ROLES
from affectstream.engines.errors import BundleError
from affectstream.engines.graphs.batching import BATCH_SIZES
from affectstream.engines.graphs.wrapper import EngineWrapper
from affectstream.engines.labels import Modality
from affectstream.engines.spec import Array, Engine
from affectstream.stream import Recognizer, SourceOptions
from affectstream.stream.fusion.reading import Reading
from affectstream.stream.offline.session import Session
from affectstream.train.annotations.annotations import Stretch
from affectstream.train.errors import DataError
from affectstream.train.teach.data.coded import CodedPerson, CodedRecording
from affectstream.train.teach.data.encoder_inputs import EncoderInputs
from affectstream.train.teach.data.evidence import Feeds, evidence_of
from affectstream.train.teach.data.hops import Hops

if TYPE_CHECKING:
    from affectstream.train.teach.fit.last_layers import LastLayers

TOLERANCE_S = 0.5
"""A stretch may end this much after the recording: players and files round differently."""
REMEMBERED = 512
"""Inputs of an encoder whose embeddings can still be found: more than there are in a window."""
CROWDED = 0.1
"""With more than this share of a person's coded hops among several people, the track has to be named."""


@dataclass(slots=True)
class Found:
    """What came of one recording."""

    hops: Hops
    feeds: Feeds
    """What the head takes of them."""
    inputs: Mapping[Modality, EncoderInputs]
    """What the encoders took whose last layers can be fitted."""
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


class _EncoderRecorder(EngineWrapper):
    """An encoder that knows what its newest embeddings were computed from."""

    def __init__(self, inner: Engine) -> None:
        super().__init__(inner)
        self._newest: OrderedDict[bytes, Feeds] = OrderedDict()

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        outputs = self.inner.run(feeds)
        for n, embedding in enumerate(outputs["embedding"]):
            self._newest[embedding.tobytes()] = {name: a[n].copy() for name, a in feeds.items()}
        while len(self._newest) > REMEMBERED:
            self._newest.popitem(last=False)
        return outputs

    def find(self, embedding: Array) -> Feeds | None:
        """What gave an embedding (D,); None if that is too long ago."""
        return self._newest.get(embedding.tobytes())


class _InputsOfRecording:
    """What one encoder was given in the coded windows of one recording."""

    def __init__(self, layers: LastLayers, recorder: _EncoderRecorder) -> None:
        self._layers, self._recorder = layers, recorder
        self._numbers: dict[bytes, int] = {}
        self._inputs: list[Feeds] = []
        self._embeddings: list[Array] = []
        self._index: list[list[int]] = []

    def add(self, feeds: Feeds) -> None:
        """Add the window of one hop, from what the head was given."""
        modality = self._layers.modality
        steps = zip(feeds[modality], feeds[f"{modality}_mask"], strict=True)
        self._index.append([self._number(step) if there else -1 for step, there in steps])

    def _number(self, embedding: Array) -> int:
        key = embedding.tobytes()
        if key not in self._numbers:
            found = self._recorder.find(embedding)
            if found is None:
                return -1
            self._numbers[key] = len(self._inputs)
            self._inputs.append(found)
            self._embeddings.append(embedding)
        return self._numbers[key]

    def finish(self) -> EncoderInputs:
        """The inputs as what the last layers take. Raises `BundleError` for weights of another encoder."""
        parts = []
        for at in range(0, len(self._inputs), BATCH_SIZES[-1]):
            some = self._inputs[at : at + BATCH_SIZES[-1]]
            inputs = {name: np.stack([one[name] for one in some]) for name in some[0]}
            found = np.stack(self._embeddings[at : at + BATCH_SIZES[-1]])
            try:
                parts.append(self._layers.features(inputs, found))
            except ValueError as error:
                raise BundleError(
                    f"{self._layers.part.folder} does not fit the {self._layers.modality} encoder of its "
                    f"bundle: {error}; export the bundle again, or delete this folder"
                ) from error
        return EncoderInputs.of_batches(np.array(self._index, np.int64), parts)


class Collector:
    """Collects the coded hops of recordings with an open bundle."""

    def __init__(
        self,
        recognizer: Recognizer,
        labels: Sequence[str],
        options: SourceOptions,
        layers: Mapping[Modality, LastLayers] | None = None,
    ) -> None:
        """`labels` are those of the bundle, then new ones; `layers` the encoders whose inputs are collected.

        Raises `BundleError` for a bundle whose head cannot be taught.
        """
        check_teachable(recognizer.bundle)
        self._recognizer, self._labels, self._options = recognizer, tuple(labels), options
        self._head = recognizer.bundle.engines["fusion"]
        self._recorder = _Recorder(self._head)
        self._layers = layers or {}
        self._encoders = {
            m: _EncoderRecorder(recognizer.bundle.engines[ENCODER_ROLES[m]]) for m in self._layers
        }
        engines: dict[str, Engine] = {**recognizer.bundle.all_engines, "fusion": self._recorder}
        engines |= {ENCODER_ROLES[m]: recorder for m, recorder in self._encoders.items()}
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
            inputs = {
                m: _InputsOfRecording(layers, self._encoders[m])
                for m, layers in self._layers.items()
            }
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
                        for each in inputs.values():
                            each.add(taken[mine[0]][0])
                        where.append((one, label, every[0].start_us / 1e6))
                    elif one.track is None and len(readings) > 1:
                        tally[one.person].crowded += 1
                    else:
                        missed[_why_missing(one, every)] += 1
        for one in coded.people:
            _check_found(coded.name, one, tally[one.person])
        given = {m: each.finish() for m, each in inputs.items()}
        return self._found(coded, rows, where, given, missed)

    def _found(
        self,
        coded: CodedRecording,
        rows: Sequence[tuple[Feeds, Array]],
        where: Sequence[tuple[CodedPerson, str, float]],
        inputs: Mapping[Modality, EncoderInputs],
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
        return Found(hops, feeds, inputs, missed)


@dataclass(slots=True)
class _Tally:
    coded: int = 0
    used: int = 0
    crowded: int = 0


def check_teachable(bundle: Bundle) -> None:
    """Raise `BundleError` for a bundle whose head cannot be taught: with members, or without logits."""
    name = bundle.manifest.name
    if bundle.members:
        first, *others = (bundle.folder / member for member in bundle.manifest.members)
        rest = " ".join(f"--member {other}" for other in others)
        raise BundleError(
            f"bundle {name!r} has members ({', '.join(bundle.manifest.members)}), each with a head of its "
            f"own: teach one of them (affectstream teach ... --bundle {first} --output mine), then join them "
            "again on a prepared data set (affectstream train fit --recipe late_fusion --data ... --member "
            f"mine {rest})"
        )
    if not bundle.manifest.labels or "logits" not in bundle.engines["fusion"].outputs:
        raise BundleError(
            f"bundle {name!r} has a head without logits of emotions: nothing can be taught"
        )


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
