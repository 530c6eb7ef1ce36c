"""Translates a data set's words for emotions into `EMOTIONS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from affectstream.engines.labels import EMOTIONS
from affectstream.stream.errors import OptionError
from affectstream.train.errors import DataError


class Vocabulary:
    """Translates labels. An unknown label is refused or dropped, never guessed."""

    def __init__(
        self,
        own: Mapping[str, str],
        translate: Mapping[str, str],
        *,
        drop_unknown: bool = False,
        left_out: Sequence[str] = (),
    ) -> None:
        """`own` are the words of the set; `translate`, of the user, comes first. The words in
        `left_out` are dropped unless translated. Raises `OptionError` for an unknown emotion.
        """
        for old, new in translate.items():
            if new not in EMOTIONS:
                raise OptionError(
                    f"--map {old}={new}: {new!r} is no emotion, expected one of {', '.join(EMOTIONS)}"
                )
        self._words = {name: name for name in EMOTIONS} | _folded(own) | _folded(translate)
        self._left_out = {word.casefold() for word in left_out}
        self._drop_unknown = drop_unknown

    def emotion(self, word: str, where: str) -> str | None:
        """The emotion for `word`; None if its row is to be dropped.

        Raises `DataError` naming the row (`where`), the word and the emotions.
        """
        folded = word.strip().casefold()
        if folded in self._words:
            return self._words[folded]
        if self._drop_unknown or folded in self._left_out:
            return None
        raise DataError(
            f"{where}: label {word!r} is none of {', '.join(EMOTIONS)}; translate it with "
            f"--map {word.strip() or 'WORD'}=EMOTION or leave such rows out with --drop-unknown"
        )


def _folded(words: Mapping[str, str]) -> dict[str, str]:
    return {old.strip().casefold(): new for old, new in words.items()}
