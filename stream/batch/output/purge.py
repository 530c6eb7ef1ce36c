"""Removing all that was derived from one recording, and checking that nothing is left of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from affectstream.engines.cache.digest import sha256
from affectstream.stream.batch.output.belonging import (
    ExplainedRecording,
    explanation_files,
    is_named_after,
    paths_of,
    unfinished,
)
from affectstream.stream.batch.output.identity import valid_text
from affectstream.stream.batch.output.report import FAILURES, write_across
from affectstream.stream.batch.output.storage import Storage, storage_at
from affectstream.stream.batch.output.traces import Traces, texts_of
from affectstream.stream.errors import OptionError, OutputError
from affectstream.stream.options import valid_name
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


def purge(recording: Path, output: str | Path, explanations: Iterable[str | Path] = ()) -> Purge:
    """Remove every result of `recording` from `output`, and write the files about all recordings anew.

    `output` is a folder or the address of an object store, and `explanations` are others that hold
    explanations of recordings. Results and explanations belong to a recording if they were made from its
    path, or from a file of the same content, so a recording that was moved, renamed or deleted since is found
    too. What a killed run has left of it is found by the path of its folder. `recording` may also be the name
    of the folder of results in `output`. Afterwards every file in these places is searched for it, within
    tables and compressed columns too. Raises `OptionError` if `output` is the folder of a single recording,
    and `OutputError` if something cannot be removed.
    """
    storage = storage_at(output)
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
    _check_own_output(found, files, storage)
    found |= {name: {} for name in unfinished(files, runs, recording)}
    others = {name: run for name, run in runs.items() if name not in found}
    of_it = ExplainedRecording(recording, content, found, others)
    removed = [one for name in found for one in _remove(storage, name, files)]
    # Also where somebody has removed the results, or a purge was killed before this.
    if found or storage.read(FAILURES) is not None:
        write_across(storage, forgets=lambda name: name in found or is_named_after(name, recording))
        for name in (FAILURES, *SUMMARY_FILES):
            storage.erase_versions(name)
    places = [storage, *(storage_at(one) for one in explanations)]
    traces = Traces(_own(found, recording, content), _theirs(others))
    left, unread, searched = list[str](), list[str](), 0
    for place in places:
        start = "" if place is storage else f"{place}/"
        explained = explanation_files(place, of_it)
        removed += [_erase(place, name, start) for name in explained]
        for folder in {PurePosixPath(name).parent for name in explained} - {PurePosixPath()}:
            place.prune(str(folder))
        names, cannot, count = _search(place, traces)
        left += [start + name for name in names]
        unread += [start + name for name in cannot]
        searched += count
    kept = dict.fromkeys(place.keeps for place in places if removed and place.keeps)
    return Purge(
        valid_text(recording), tuple(removed), searched, tuple(left), tuple(unread), tuple(kept)
    )


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
    identity = run.get("input") or {}
    same_content = content is not None and identity.get("sha256") == content
    results = {name} if storage.local is None else {name, (storage.local / name).absolute()}
    is_folder = valid_text(recording) == name or recording.absolute() in results
    return run.get("source") in paths_of(recording) or same_content or is_folder


def _remove(storage: Storage, name: str, files: Iterable[str]) -> list[Removed]:
    """Delete the folder of a recording, `run.json` last, and the folders above it that are then empty."""
    inside = [file for file in files if file.startswith(f"{name}/")]
    inside.sort(key=lambda file: (PurePosixPath(file).name == RUN, file))
    removed = [_erase(storage, file) for file in inside]
    storage.prune(name)
    return removed


def _erase(storage: Storage, name: str, start: str = "") -> Removed:
    content = storage.erase(name)
    return Removed(
        start + valid_text(Path(name)), len(content), hashlib.sha256(content).hexdigest()
    )


def _own(
    found: Mapping[str, Mapping[str, Any]], recording: Path, content: str | None
) -> Iterator[str]:
    """What only this recording's results would hold."""
    yield from (valid_text(recording.absolute()), valid_name(recording), content or "")
    for name, run in found.items():
        yield from texts_of(name, run)
        identity = run.get("input") or {}
        yield identity["sha256"] if identity.get("size") else ""


def _theirs(others: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, run in others.items():
        yield from texts_of(name, run)
        yield (run.get("transcript") or {}).get("name", "")
