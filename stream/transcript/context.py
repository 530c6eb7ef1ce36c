"""The current utterance of a transcript, and the utterances before it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from affectstream.stream.media.types import Cue

CURRENT_FOR_US = 5_000_000
"""A cue stays the current utterance for this long after its end, or until the next one ends."""

_NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class CurrentUtterance:
    """Holds the cues, and finds the current one: the last that has ended, for `CURRENT_FOR_US`.

    A cue counts from its end on, even when it was pushed earlier, so files and live sources agree.
    `context` is how many utterances before the current one are kept; `forget` drops older ones.
    """

    def __init__(self, context: int = 0) -> None:
        self._context = context
        self._cues: list[Cue] = []

    def push(self, cue: Cue) -> None:
        """Add a cue, in any order."""
        insort(self._cues, cue, key=end_order)

    def at(self, t_us: int) -> Cue | None:
        """The current utterance at `t_us`."""
        place = bisect_right(self._cues, t_us, key=_end_us)
        found = self._cues[place - 1] if place else None
        return found if found is not None and found.end_us > t_us - CURRENT_FOR_US else None

    def before(self, cue: Cue) -> tuple[Cue, ...]:
        """Up to `context` utterances before `cue`, one of those held; oldest first."""
        if not self._context:
            return ()
        place = self._cues.index(cue, bisect_left(self._cues, end_order(cue), key=end_order))
        return tuple(self._cues[max(0, place - self._context) : place])

    def forget(self, t_us: int) -> None:
        """Drop the cues that are neither current at `t_us` or later, nor context of one that is."""
        over = bisect_right(self._cues, t_us - CURRENT_FOR_US, key=_end_us)
        del self._cues[: max(0, over - self._context)]


def end_order(cue: Cue) -> tuple[int, int]:
    """The key that sorts cues by their end."""
    return cue.end_us, cue.start_us


def _end_us(cue: Cue) -> int:
    return cue.end_us


def join_utterances(utterances: Sequence[tuple[str | None, str]]) -> str:
    """One text for a text encoder from (speaker, words) of some utterances, oldest first.

    ``A:`` marks the words of the last speaker, ``B:`` those of the speaker who came latest before, and
    so on: a model learns who answers whom, and learns no names. Words without a speaker have no mark,
    and a single utterance stays as it is.
    """
    if len(utterances) == 1:
        return utterances[0][1]
    latest_first = dict.fromkeys(who for who, _ in reversed(utterances) if who is not None)
    # After 26 speakers all others share the last letter.
    names = {who: _NAMES[min(n, len(_NAMES) - 1)] for n, who in enumerate(latest_first)}
    return " ".join(words if who is None else f"{names[who]}: {words}" for who, words in utterances)
