"""A share of the recordings for each of several machines, with no word between them."""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass

from affectstream.stream.batch.plan.task import Task
from affectstream.stream.errors import OptionError


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` of `count`, from 1 on."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From ``2/8``. Raises `OptionError`."""
        match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text, re.ASCII)
        if match is None or int(match[1]) > int(match[2]):
            raise OptionError(
                f"--shard {text!r}: expected a part and the number of parts, from 1/8 to 8/8"
            )
        return cls(int(match[1]), int(match[2]))


def take_shard(tasks: Sequence[Task], lengths_s: Sequence[float], shard: Shard) -> list[Task]:
    """The recordings of one part.

    The longest recording goes to the part that has the least so far, and so on. This depends on names and
    lengths alone, so every machine finds the same parts: together they are all recordings, each once.
    """
    order = sorted(
        zip(lengths_s, tasks, strict=True), key=lambda pair: (-round(pair[0], 3), pair[1].name)
    )
    loads = [(0.0, number) for number in range(1, shard.count + 1)]
    taken: list[Task] = []
    for length_s, task in order:
        load_s, number = loads[0]
        # A recording costs a moment, however short it is.
        heapq.heapreplace(loads, (load_s + length_s + 1.0, number))
        if number == shard.number:
            taken.append(task)
    return taken
