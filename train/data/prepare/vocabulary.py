"""From a data set's words for emotions to the one vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from affectstream.engines.labels import EMOTIONS
from affectstream.stream.errors import OptionError
from affectstream.train.errors import DataError


def parse_pairs(pairs: Sequence[str], option: str, meaning: str) -> dict[str, str]:
    """``["a=b", ...]`` as a mapping. Raises `OptionError` naming the option for another form."""
    out = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not equals or not old.strip() or not new.strip():
            raise OptionError(f"{option} {pair!r}: expected {meaning}")
        out[old.strip()] = new.strip()
    return out


class Vocabulary:
    """Translates labels; those it does not know are refused or dropped, never guessed."""

    def __init__(
        self,
        own: Mapping[str, str],
        translate: Mapping[str, str],
        *,
        drop_unknown: bool = False,
        leaves_out: Sequence[str] = (),
    ) -> None:
        """`own` are the words of the set, `translate` what the user adds (it goes first); words in
        `leaves_out` are dropped unless translated. Raises `OptionError` for a target that is none.
        """
        for old, new in translate.items():
            if new not in EMOTIONS:
                raise OptionError(
                    f"--map {old}={new}: {new!r} is no emotion, expected one of {', '.join(EMOTIONS)}"
                )
        self._words = {name: name for name in EMOTIONS} | _folded(own) | _folded(translate)
        self._left_out = {word.casefold() for word in leaves_out}
        self._drop_unknown = drop_unknown

    def emotion(self, word: str, where: str) -> str | None:
        """The emotion that `word` stands for; None where its row is to be dropped.

        Raises `DataError` naming the row (`where`), the value and the vocabulary.
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
