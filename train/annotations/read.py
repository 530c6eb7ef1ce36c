"""Which reader a file needs, and which files of a folder belong to which recording."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from affectstream.stream.errors import OptionError
from affectstream.stream.results.scored import EVENTS, READINGS
from affectstream.train.annotations.annotations import Annotations
from affectstream.train.annotations.names import SUFFIXES, recording_name
from affectstream.train.annotations.results import read_results
from affectstream.train.annotations.tables import read_table
from affectstream.train.data.imotions_export import find_layout
from affectstream.train.errors import DataError, DataMissing


def read(path: Path, kind: str = "emotion", skip: Collection[str] = ()) -> list[Annotations]:
    """The annotations in a file, or of every recording in a folder.

    `kind` is what labels are of where a file does not say, and tiers named in `skip` are left out. A folder
    of results counts as one recording, named after it. Raises `DataMissing` or `DataError`.
    """
    if path.is_file():
        return [read_file(path, _recording(path), kind, skip)]
    if not path.is_dir():
        raise DataMissing(f"{path} not found: expected annotations, or a folder of them")
    results = sorted({file.parent for name in (READINGS, EVENTS) for file in path.rglob(name)})
    if results:
        return [_read_folder(folder) for folder in results]
    files = sorted(file for file in path.rglob("*") if _holds_annotations(file))
    if not files:
        raise DataMissing(f"{path} holds no annotations: expected {', '.join(SUFFIXES)}")
    return [read_file(file, _recording(file), kind, skip) for file in files]


def check_skipped(skip: Collection[str], annotations: Sequence[Annotations]) -> None:
    """Raise `OptionError` for a name in `skip` that is of no tier of these `annotations`."""
    known = sorted({name for one in annotations for name in one.tiers})
    for name in skip:
        if name not in known:
            there = ", ".join(map(repr, known)) or "none: these files have no tiers or subjects"
            raise OptionError(
                f"--skip-tier {name!r}: no tier, subject or category has this name; there are {there}"
            )


def _holds_annotations(file: Path) -> bool:
    """Not what programs leave beside a file that is open, nor a text that is no export."""
    suffix = file.suffix.casefold()
    if suffix not in SUFFIXES or file.name.startswith((".", "~")):
        return False
    if suffix == ".txt":
        try:
            find_layout(file)
        except (DataError, DataMissing):
            return False
    return True


def read_file(
    path: Path, recording: str, kind: str = "emotion", skip: Collection[str] = ()
) -> Annotations:
    """One file, by its suffix. Raises `DataError`."""
    suffix = path.suffix.casefold()
    if suffix in (".jsonl", ".parquet"):
        return read_results(path, recording)
    if suffix in (".eaf", ".textgrid"):
        from affectstream.train.annotations.tiers import read_elan, read_textgrid

        return (read_elan if suffix == ".eaf" else read_textgrid)(path, recording, kind, skip)
    if suffix in (".csv", ".tsv"):
        try:
            return read_table(path, recording, kind, skip)
        except DataError as not_a_table:
            return _imotions(path, recording, not_a_table)
    if suffix == ".txt":
        return _imotions(path, recording, None)
    raise DataError(f"{path}: unknown kind of file, expected {', '.join(SUFFIXES)}")


def _imotions(path: Path, recording: str, first_error: DataError | None) -> Annotations:
    from affectstream.train.annotations.imotions import read_imotions

    try:
        return read_imotions(path, recording)
    except DataError as error:
        raise first_error or error from None


def _read_folder(folder: Path) -> Annotations:
    name = READINGS if (folder / READINGS).is_file() else EVENTS
    return read_file(folder / name, recording_name(folder))


def _recording(path: Path) -> str:
    """The recording that a file is about: by its name, or by its folder's for our results."""
    return recording_name(path.resolve().parent if path.name in (READINGS, EVENTS) else path)
