"""How well numbers follow people: switches, mixed numbers, and IDF1.

Identity switches are those of CLEAR MOT (Bernardin and Stiefelhagen, 2008), IDF1 that of Ristani et al.,
"Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking" (2016). The detections are
given: only the numbers are measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class IdentityScore:
    """Counts of one sequence or, added up, of several.

    `faces` are detected faces of known people, `numbered` those with a number, `other` numbered
    detections that belong to nobody. `agreed` is the largest number of faces that a one-to-one
    assignment of numbers to people explains. `mixed` numbers were given to more than one person, and
    `people` had `numbers` numbers.
    """

    faces: int = 0
    numbered: int = 0
    other: int = 0
    agreed: int = 0
    switches: int = 0
    mixed: int = 0
    people: int = 0
    numbers: int = 0

    @property
    def idf1(self) -> float:
        """2 IDTP / (2 IDTP + IDFP + IDFN)."""
        total = self.faces + self.numbered + self.other
        return 2 * self.agreed / total if total else 1.0

    def __add__(self, more: IdentityScore) -> IdentityScore:
        names = self.__slots__
        return IdentityScore(*(getattr(self, name) + getattr(more, name) for name in names))


def score_identities(faces: Iterable[tuple[Hashable | None, int | None]]) -> IdentityScore:
    """Score faces in order of time: (person, number) of each; person None where nobody is there."""
    known, other = 0, 0
    together: Counter[tuple[Hashable, int]] = Counter()
    newest: dict[Hashable, int] = {}
    people: set[Hashable] = set()
    switches = 0
    for person, number in faces:
        if person is None:
            other += number is not None
            continue
        known += 1
        people.add(person)
        if number is None:
            continue
        together[person, number] += 1
        switches += newest.get(person, number) != number
        newest[person] = number
    owners = Counter(number for _, number in together)
    return IdentityScore(
        faces=known,
        numbered=sum(together.values()),
        other=other,
        agreed=_best_assignment(together),
        switches=switches,
        mixed=sum(count > 1 for count in owners.values()),
        people=len(people),
        numbers=len(together),
    )


def _best_assignment(together: Counter[tuple[Hashable, int]]) -> int:
    """The largest sum of counts in which each person and each number is used at most once.

    Tries every choice for a few people; sequences here have two.
    """
    people = sorted({person for person, _ in together}, key=str)
    options: Sequence[dict[int, int]] = [
        {number: count for (who, number), count in together.items() if who == person}
        for person in people
    ]

    @cache
    def best(person: int, used: frozenset[int]) -> int:
        if person == len(options):
            return 0
        found = best(person + 1, used)
        for number, count in options[person].items():
            if number not in used:
                found = max(found, count + best(person + 1, used | {number}))
        return found

    return best(0, frozenset())
