"""What was said before the current utterance, as text that a text encoder can read."""

from __future__ import annotations

from collections.abc import Sequence

_NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def join_utterances(lines: Sequence[tuple[str | None, str]]) -> str:
    """(speaker, words) of some utterances, oldest first, as one text with the turns marked.

    ``A:`` stands before what the speaker of the last one says, ``B:`` before what the one says who
    spoke latest of the others, and so on: a model learns who answers whom, and no names. Words of
    nobody in particular have no mark, and a single utterance is left as it is.
    """
    if len(lines) == 1:
        return lines[0][1]
    latest_first = dict.fromkeys(who for who, _ in reversed(lines) if who is not None)
    # Names that are told apart no more share the last letter.
    names = {who: _NAMES[min(n, len(_NAMES) - 1)] for n, who in enumerate(latest_first)}
    return " ".join(words if who is None else f"{names[who]}: {words}" for who, words in lines)
