"""Where a classifier fails: by person, quality and what is missing, its worst cases, and people unlike those
that it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectstream.train.evaluate.bundle.sample_facts import SampleFacts
from affectstream.train.statistics import Groups, Interval, bootstrap

WORST = 20
"""Worst cases that are listed."""
MIN_GROUP = 5
"""A group of fewer samples is not listed."""
MIN_PEOPLE = 5
"""With fewer people in the training nobody is called different; of fewer in a group, samples are drawn."""
FAR = 3.5
"""A person is different from so many robust standard deviations on (Iglewicz and Hoaglin, 1993)."""


@dataclass(frozen=True, slots=True)
class GroupErrors:
    """The samples that have one value of one fact."""

    fact: str
    value: str
    samples: int
    people: int
    accuracy: Interval
    uar: float
    """Unweighted average recall over the classes that the group has."""
    confidence: float
    mistake: tuple[str, str, int] | None
    """The most frequent one: truth, prediction, count."""
    confusion: list[list[int]]
    """(C, C) truth in rows."""
    stands_out: bool
    """Whether the interval excludes the accuracy of all samples."""


@dataclass(frozen=True, slots=True)
class WorstCase:
    """A wrong prediction that was sure of itself."""

    number: int
    """Of the sample among all predictions."""
    id: str
    truth: str
    predicted: str
    confidence: float
    truth_probability: float
    facts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """In which a person is unlike the people of the training."""

    person: str
    fact: str
    value: str
    training: str
    """What the training's people have."""


@dataclass(frozen=True, slots=True)
class ErrorAnalysis:
    """Of one task."""

    task: str
    labels: tuple[str, ...]
    groups: tuple[GroupErrors, ...]
    worst: tuple[WorstCase, ...]
    differences: tuple[Difference, ...]
    note: str
    """With whom people were compared, or why not."""


def analyze_errors(
    task: str,
    labels: Sequence[str],
    numbers: NDArray[np.int64],
    ids: NDArray[np.generic],
    truth: NDArray[np.int64],
    chances: NDArray[np.float64],
    facts: SampleFacts,
    training: SampleFacts | None,
) -> ErrorAnalysis:
    """Analyze predictions `chances` (n, C) of samples with labels `truth` (n,) and `facts`.

    `numbers` (n,) are those of the samples among all predictions, `ids` their names.

    `training` has the facts of samples of the training, None where they are not known.
    """
    guess = chances.argmax(1)
    people = facts.categories.get("person")
    persons = np.full(len(truth), None, object) if people is None else people
    accuracy = float((guess == truth).mean())
    groups = [
        _group(fact, value, rows, labels, truth, chances, persons, accuracy)
        for fact, value, rows in _groups(facts)
        if rows.sum() >= MIN_GROUP
    ]
    differences, note = _differences(facts, training)
    worst = _worst(labels, numbers, ids, truth, chances, facts)
    return ErrorAnalysis(task, tuple(labels), tuple(groups), worst, differences, note)


def _groups(facts: SampleFacts) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Each value of a category, and each third of a measure, if there are two or more."""
    for fact, column in facts.categories.items():
        values = sorted({value for value in column if value is not None})
        if len(values) > 1:
            for value in values:
                yield fact, value, np.asarray(column == value, bool)
    for fact, numbers in facts.measures.items():
        known = numbers[np.isfinite(numbers)]
        low, high = np.quantile(known, (1 / 3, 2 / 3))
        thirds = (
            (f"under {low:.3g}", numbers < low),
            (f"{low:.3g} to {high:.3g}", (numbers >= low) & (numbers < high)),
            (f"{high:.3g} or more", numbers >= high),
        )
        if sum(bool(rows.any()) for _, rows in thirds) > 1:
            yield from ((fact, name, rows) for name, rows in thirds if rows.any())


def _group(
    fact: str,
    value: str,
    rows: NDArray[np.bool_],
    labels: Sequence[str],
    truth: NDArray[np.int64],
    chances: NDArray[np.float64],
    persons: NDArray[np.generic],
    overall: float,
) -> GroupErrors:
    truth, chances, who = truth[rows], chances[rows], persons[rows]
    guess, count = chances.argmax(1), len(labels)
    confusion = np.bincount(truth * count + guess, minlength=count * count).reshape(count, count)
    names = sorted({str(name) for name in who if name is not None})
    # Drawing a few people gives intervals that are too narrow; so does drawing their samples, but less.
    known = len(names) >= MIN_PEOPLE and all(name is not None for name in who)
    numbers = np.searchsorted(names, who.astype(str)) if known else np.arange(len(who))
    groups = Groups(numbers, "participant" if known else "sample")
    accuracy = bootstrap(_accuracy, truth, guess, groups=groups)["accuracy"]
    actual = confusion.sum(1)
    wrong = confusion - np.diag(confusion.diagonal())
    row, column = divmod(int(wrong.argmax()), count)
    mistake = (labels[row], labels[column], int(wrong[row, column])) if wrong.any() else None
    return GroupErrors(
        fact,
        value,
        len(truth),
        len(names),
        accuracy,
        float((confusion.diagonal()[actual > 0] / actual[actual > 0]).mean()),
        float(chances.max(1).mean()),
        mistake,
        confusion.tolist(),
        not accuracy.low <= overall <= accuracy.high,
    )


def _accuracy(truth: NDArray[np.int64], guess: NDArray[np.int64]) -> Mapping[str, float]:
    return {"accuracy": float((truth == guess).mean())}


def _worst(
    labels: Sequence[str],
    numbers: NDArray[np.int64],
    ids: NDArray[np.generic],
    truth: NDArray[np.int64],
    chances: NDArray[np.float64],
    facts: SampleFacts,
) -> tuple[WorstCase, ...]:
    wrong = np.flatnonzero(chances.argmax(1) != truth)
    order = wrong[np.argsort(-chances[wrong].max(1), kind="stable")][:WORST]
    found = []
    for number in order.tolist():
        row = chances[number]
        about = {n: str(column[number]) for n, column in facts.categories.items() if column[number]}
        about |= {
            name: f"{column[number]:.3g}"
            for name, column in facts.measures.items()
            if np.isfinite(column[number])
        }
        found.append(
            WorstCase(
                int(numbers[number]),
                str(ids[number]),
                labels[truth[number]],
                labels[int(row.argmax())],
                round(float(row.max()), 4),
                round(float(row[truth[number]]), 4),
                about,
            )
        )
    return tuple(found)


def _differences(
    facts: SampleFacts, training: SampleFacts | None
) -> tuple[tuple[Difference, ...], str]:
    people = facts.categories.get("person")
    if people is None:
        return (), "the people of this split are not known"
    if training is None or "person" not in training.categories:
        return (), "the people of the training are not known"
    trained = training.categories["person"]
    known = sorted({name for name in trained if name is not None})
    if len(known) < MIN_PEOPLE:
        return (), f"the training has {len(known)} known people, too few to compare with"
    found: list[Difference] = []
    persons = sorted({name for name in people if name is not None})
    for fact in ("sex", "age", "language", "corpus"):
        before = {value for value in training.categories.get(fact, ()) if value is not None}
        column = facts.categories.get(fact)
        if column is None or not before:
            continue
        for person in persons:
            new = sorted(set(column[people == person]) - before - {None})
            found += [Difference(person, fact, v, ", ".join(sorted(before))) for v in new]
    for fact, column in facts.measures.items():
        if fact not in training.measures:
            continue
        values = np.array([_median(training.measures[fact][trained == name]) for name in known])
        values = values[np.isfinite(values)]
        if len(values) < MIN_PEOPLE:
            continue
        middle = float(np.median(values))
        spread = float(np.median(np.abs(values - middle))) / 0.6745
        for person in persons:
            value = _median(column[people == person])
            if np.isfinite(value) and abs(value - middle) > FAR * max(spread, 1e-9):
                ends = f"{values.min():.3g} to {values.max():.3g}"
                if not values.min() <= value <= values.max():
                    found.append(Difference(person, fact, f"{value:.3g}", ends))
    return tuple(found), f"compared with {len(known)} people of split train"


def _median(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
