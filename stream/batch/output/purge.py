"""Removing all that was derived from one recording, and checking that nothing is left of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from affectstream.engines.cache.digest import sha256
from affectstream.stream.batch.output.belonging import (
    ExplainedRecording,
    explanation_files,
    is_called,
    is_named_after,
    paths_of,
    unfinished,
)
from affectstream.stream.batch.output.report import FAILURES, write_across
from affectstream.stream.batch.output.stated import content_of, source_of, transcript_of
from affectstream.stream.batch.output.storage import Storage, storage_at
from affectstream.stream.batch.output.traces import Traces, texts_of
from affectstream.stream.errors import OptionError, OutputError
from affectstream.stream.options import valid_name, valid_text
from affectstream.stream.results.scored import RUN
from affectstream.stream.summary.files import SUMMARY_FILES

_AT_ONCE = 4
"""Files that are searched."""


@dataclass(frozen=True, slots=True)
class Removed:
    """One file that is no more."""

    path: str
    """In the output; with its folder if it lay elsewhere."""
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Purge:
    """What was removed, and what a search of everything that stays has found."""

    recording: str
    removed: tuple[Removed, ...]
    searched: int
    """Files that were searched for the recording's path, name in the output, and hash."""
    left: tuple[str, ...]
    """Files that still name it."""
    unread: tuple[str, ...]
    """Files that could not be searched, such as a table that a killed run left unfinished."""
    kept: tuple[str, ...] = ()
    """Why what was removed may still be there, of stores that keep it."""


def purge(
    recording: Path,
    output: str | Path,
    explanations: Iterable[str | Path] = (),
    tell: Callable[[Removed], None] = lambda one: None,
) -> Purge:
    """Remove every result of `recording` from `output`, and write the files about all recordings anew.

    `output` is a folder or the address of an object store, and `explanations` are others that hold
    explanations of recordings. Results and explanations belong to a recording if they were made from its
    path, or from a file of the same content, so a recording that was moved, renamed or deleted since is found
    too. What a killed run has left of it is found by the path of its folder. `recording` may also be the name
    of the folder of results in `output`. Afterwards every file in these places is searched for it, within
    tables and compressed columns too. `tell` gets each file once it is removed, so that the record is not
    lost if this fails halfway. Raises `OptionError` if `output` is the folder of a single recording, and
    `OutputError` if something cannot be read or removed.
    """
    places = [storage_at(one) for one in (output, *explanations)]
    storage = places[0]
    if storage.read(RUN) is not None:
        raise OptionError(
            f"{output} holds the results of one recording: give --output the folder above it, with the files "
            "about all recordings"
        )
    # All empty files have the same content.
    has_content = recording.is_file() and recording.stat().st_size > 0
    content = sha256(recording) if has_content else None
    runs = dict(storage.runs())
    found = {
        name: run for name, run in runs.items() if _belongs(name, run, recording, storage, content)
    }
    files = storage.files()
    inside = {name: [file for file in files if file.startswith(f"{name}/")] for name in found}
    inside |= unfinished(files, runs, recording)
    _check_own_output(inside, files, storage)
    found |= {name: {} for name in inside if name not in found}
    others = {name: run for name, run in runs.items() if name not in found}
    of_it = ExplainedRecording(recording, content, found, others)
    # Before anything is removed, so that a place that cannot be read stops nothing halfway.
    explained = [explanation_files(place, of_it) for place in places]

    eraser = _Eraser(storage, tell)
    # The runs go last, `run.json` after all else: by them the rest is found again if this is interrupted.
    for place, there in zip(places, explained, strict=True):
        for file in there:
            eraser.erase(place, file)
        for folder in {PurePosixPath(file).parent for file in there} - {PurePosixPath()}:
            place.prune(str(folder))
    for name, there in inside.items():
        for file in sorted(there, key=lambda file: (PurePosixPath(file).name == RUN, file)):
            eraser.erase(storage, file)
        storage.prune(name)
        storage.erase_history(name)
    # Also where somebody has removed the results, or a purge was killed before this.
    if found or storage.read(FAILURES) is not None:
        write_across(storage, forgets=lambda name: name in found or is_named_after(name, recording))
        for name in (FAILURES, *SUMMARY_FILES):
            storage.erase_versions(name)

    is_folder = any(_is_folder(name, recording, storage) for name in found)
    own = _own(found, recording, content, is_folder=is_folder)
    traces = Traces(own, _theirs(others, found))
    left, unread, searched = list[str](), list[str](), 0
    for place in places:
        start = "" if place is storage else f"{place}/"
        names, cannot, count = _search(place, traces)
        left += [start + name for name in names]
        unread += [start + name for name in cannot]
        searched += count
    return Purge(
        valid_text(recording),
        tuple(eraser.removed),
        searched,
        tuple(left),
        tuple(unread),
        tuple(eraser.kept),
    )


class _Eraser:
    """Removes files, and keeps the record of it."""

    def __init__(self, output: Storage, tell: Callable[[Removed], None]) -> None:
        """`tell` gets each file that was removed, which is called by its path in `output`."""
        self._output, self._tell = output, tell
        self._places = dict[Storage, None]()
        self.removed = list[Removed]()

    def erase(self, place: Storage, name: str) -> None:
        """Remove a file of `place`, if it is still there: one place may lie in another."""
        content = place.erase(name)
        if content is None:
            return
        start = "" if place is self._output else f"{place}/"
        sha = hashlib.sha256(content).hexdigest()
        one = Removed(start + valid_text(Path(name)), len(content), sha)
        self._places[place] = None
        self.removed.append(one)
        self._tell(one)

    @property
    def kept(self) -> dict[str, None]:
        """Why what was removed may still be there, of the places where something was."""
        return dict.fromkeys(place.keeps for place in self._places if place.keeps)


def _search(storage: Storage, traces: Traces) -> tuple[list[str], list[str], int]:
    """The files that name the recording, those that cannot be searched, and how many were."""

    def search(name: str) -> bool | None:
        content = storage.read(name)
        return None if content is None else traces.are_in(content)

    left, unread, searched = list[str](), list[str](), 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        waiting = [(name, pool.submit(search, name)) for name in storage.files()]
        for name, one in waiting:
            try:
                names_it = one.result()
            except (OutputError, pa.ArrowException):
                unread.append(valid_text(Path(name)))
                continue
            if names_it:
                left.append(valid_text(Path(name)))
            searched += names_it is not None
    return left, unread, searched


def _check_own_output(found: Iterable[str], files: Iterable[str], storage: Storage) -> None:
    """Raise `OptionError` if results lie in another output in this folder, whose summary would stay."""
    there = set(files)
    for name in found:
        for above in PurePosixPath(name).parents:
            about = [str(above / file) for file in (FAILURES, *SUMMARY_FILES)]
            if above != PurePosixPath() and there.intersection(about):
                raise OptionError(
                    f"{storage}/{name} belongs to the results in {storage}/{above}, which have a summary of "
                    f"their own: give --output {storage}/{above}"
                )


def _belongs(
    name: str, run: Mapping[str, Any], recording: Path, storage: Storage, content: str | None
) -> bool:
    same_content = content is not None and content_of(run) == content
    same_path = source_of(run) in paths_of(recording)
    return same_path or same_content or _is_folder(name, recording, storage)


def _is_folder(name: str, recording: Path, storage: Storage) -> bool:
    """Whether somebody gave the folder of the results `name` instead of a recording."""
    if is_called(name, recording):
        return True
    return storage.local is not None and recording.absolute() == (storage.local / name).absolute()


def _own(
    found: Mapping[str, Mapping[str, Any]], recording: Path, content: str | None, *, is_folder: bool
) -> Iterator[str]:
    """What only this recording's results would hold. With `is_folder` the argument is their folder, which may
    have a plain word as its name."""
    yield from (valid_text(recording.absolute()), content or "")
    if not is_folder:
        yield valid_name(recording)
    for name, run in found.items():
        yield from texts_of(name, run)
        yield content_of(run)


def _theirs(
    others: Mapping[str, Mapping[str, Any]], found: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """What the results of others hold too."""
    sources = {source_of(run) for run in found.values()} - {""}
    for name, run in others.items():
        yield from texts_of(name, run)
        yield transcript_of(run)
        # Another part of the same recording was not asked for. A copy of the recording should be named.
        if source_of(run) in sources:
            yield content_of(run)
