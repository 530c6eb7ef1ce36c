"""Which files are results, and their cards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from affectstream.train.errors import DataError
from affectstream.train.gallery import result_cards as results
from affectstream.train.gallery.card import Card
from affectstream.train.gallery.explanation_cards import explanation

PAGES = "report.html", "explanation.html", "explanation.mp4"
"""What a card leads to, the first that is there; else to the file of results."""
PICTURES = "face.png", "grad_cam.png", "attention_rollout.png", "regions.png", "voice.png"
"""Pictures of an explanation: with --media the first that is there is shown."""

READERS: Mapping[str, Callable[[Path], Card | None]] = {
    "metrics.json": results.evaluation,
    "comparison.json": results.comparison,
    "curve.json": results.curve,
    "folds.json": results.folds,
    "summary.json": results.run,
    "reproduce.json": results.reproduction,
    "agreement.json": results.agreement,
    "explanation.json": explanation,
}


def read_card(path: Path) -> Card | None:
    """The card of a file of results; None for one that is none of ours, although its name is.

    Raises `DataError` for a damaged one.
    """
    try:
        return READERS[path.name](path)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise DataError(f"not as 'train' and 'explain' write it: {error}") from error
    except KeyError as error:
        raise DataError(f"not as 'train' and 'explain' write it: {error} is missing") from error
    except (IndexError, StopIteration) as error:
        raise DataError("holds no result") from error
