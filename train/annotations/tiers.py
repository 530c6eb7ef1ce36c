"""Tiers of ELAN (.eaf, read by pympi) and of Praat (.TextGrid, read by praatio)."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from affectstream.stream.results.origin import STATED_USE
from affectstream.train.annotations.annotations import Annotations, Coding, Stretch
from affectstream.train.annotations.names import FREE_TEXT, label, tier
from affectstream.train.errors import DataError


def read_elan(
    path: Path, recording: str, kind: str = "emotion", skip: Collection[str] = ()
) -> Annotations:
    """Read the tiers with times of an .eaf file. Raises `DataError` for another file."""
    from pympi.Elan import Eaf

    try:
        file: Any = Eaf(str(path))
        names = tuple(file.get_tier_names())
        tiers = {
            name: [(start / 1000, end / 1000, value) for start, end, value, *_ in entries]
            for name in names
            if (entries := file.get_annotation_data_for_tier(name))
        }
    except Exception as error:  # pympi raises plain ones
        raise DataError(f"{path} is no ELAN file (.eaf): {error}") from error
    return Annotations(path, recording, _codings(path, tiers, kind, skip), tiers=names)


def read_textgrid(
    path: Path, recording: str, kind: str = "emotion", skip: Collection[str] = ()
) -> Annotations:
    """Read the interval tiers of a TextGrid. Raises `DataError` for another file."""
    from praatio import textgrid
    from praatio.data_classes.interval_tier import IntervalTier
    from praatio.utilities.errors import PraatioException

    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    except (PraatioException, ValueError, IndexError, OSError, UnicodeError) as error:
        raise DataError(f"{path} is no TextGrid: {error}") from error
    tiers = {
        found.name: [(e.start, e.end, e.label) for e in found.entries]
        for found in grid.tiers
        if isinstance(found, IntervalTier) and found.name not in STATED_USE
    }
    names = tuple(grid.tierNames)
    return Annotations(path, recording, _codings(path, tiers, kind, skip), tiers=names)


def _codings(
    path: Path,
    tiers: dict[str, list[tuple[float, float, str]]],
    default: str,
    skip: Collection[str],
) -> tuple[Coding, ...]:
    codings = []
    for name, entries in tiers.items():
        person, kind = tier(name, default)
        if kind in FREE_TEXT or name in skip:
            continue
        stretches = [Stretch(s, e, label(text, kind)) for s, e, text in entries if text.strip()]
        if stretches:
            codings.append(Coding.of(person, kind, stretches, path))
    return tuple(codings)
