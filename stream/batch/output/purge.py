"""Removing all that was derived from one recording, and checking that nothing is left of it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from affectstream.engines.cache.digest import sha256
from affectstream.stream.batch.output.identity import valid_text
from affectstream.stream.batch.output.report import FAILURES, write_across
from affectstream.stream.batch.output.storage import FolderStorage
from affectstream.stream.batch.output.traces import Traces, texts_of
from affectstream.stream.batch.plan.task import hashed_name
from affectstream.stream.errors import OptionError, OutputError
from affectstream.stream.explain.explanation import DOCUMENT as EXPLANATION
from affectstream.stream.options import valid_name
from affectstream.stream.results.scored import RUN
from affectstream.stream.summary.files import SUMMARY_FILES

_EXPLAINED = re.compile(r"explanation\.|(?:face|frame|voice)\w*\.png")


@dataclass(frozen=True, slots=True)
class Removed:
    """One file that is no more."""

    path: str
    """In the output."""
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Purge:
    """What was removed, and what a search of everything that stays has found."""

    recording: str
    removed: tuple[Removed, ...]
    searched: int
    """Files of the output that were searched for the recording's path, name in the output, and hash."""
    left: tuple[str, ...]
    """Files of the output that still name it."""
    unread: tuple[str, ...]
    """Files of the output that could not be searched, such as a table that a killed run left unfinished."""


def purge(recording: Path, output: Path) -> Purge:
    """Remove every result of `recording` from `output`, and write the files about all recordings anew.

    Results belong to a recording if they were made from its path, or from a file of the same content, so a
    recording that was moved, renamed or deleted since is found too. What a killed run has left of it is found
    by the path of its folder. `recording` may also be the name of the folder of results in `output`.
    Afterwards every file in `output` is searched for it, within tables and compressed columns too. Raises
    `OptionError` if `output` is the folder of a single recording, and `OutputError` if something cannot be
    removed.
    """
    if (output / RUN).is_file():
        raise OptionError(
            f"{output} holds the results of one recording: give --output the folder above it, with the files "
            "about all recordings"
        )
    storage = FolderStorage(output)
    # All empty files have the same content.
    has_content = recording.is_file() and recording.stat().st_size > 0
    content = sha256(recording) if has_content else None
    runs = dict(storage.runs())
    found = {
        name: run for name, run in runs.items() if _belongs(name, run, recording, output, content)
    }
    _check_own_output(found, output)
    found |= {name: {} for name in _unfinished(storage, recording)}
    others = {name: run for name, run in runs.items() if name not in found}
    removed = [one for name in found for one in _remove(output, name)]
    if found:
        write_across(storage, forgets=found.__contains__)
    traces = Traces(_own(found, recording, content), _theirs(others))
    files = [path for path in sorted(output.rglob("*")) if path.is_file()]
    left, unread = list[Path](), list[Path]()
    for path in files:
        try:
            if traces.are_in(path):
                left.append(path)
        except (OSError, pa.ArrowException):
            unread.append(path)
    explained = {path.parent for path in left if path.name == EXPLANATION}
    left = [path for path in files if path in left or _is_explanation(path, explained)]
    searched = len(files) - len(unread)
    return Purge(
        valid_text(recording),
        tuple(removed),
        searched,
        *(
            tuple(valid_text(path.relative_to(output)) for path in paths)
            for paths in (left, unread)
        ),
    )


def _check_own_output(found: Iterable[str], output: Path) -> None:
    """Raise `OptionError` if results lie in another output in this folder, whose summary would stay."""
    for name in found:
        for above in PurePosixPath(name).parents:
            own = output / above
            if own != output and any((own / file).is_file() for file in (FAILURES, *SUMMARY_FILES)):
                raise OptionError(
                    f"{output / name} belongs to the results in {own}, which have a summary of their own: "
                    f"give --output {own}"
                )


def _belongs(
    name: str, run: Mapping[str, Any], recording: Path, output: Path, content: str | None
) -> bool:
    whole = valid_text(recording.absolute())
    same_path = run.get("source") in (whole, os.path.realpath(recording))
    identity = run.get("input") or {}
    same_content = content is not None and identity.get("sha256") == content
    in_output = valid_text((output / name).absolute())
    return same_path or same_content or whole == in_output or valid_text(recording) == name


def _unfinished(storage: FolderStorage, recording: Path) -> Iterator[str]:
    """Folders with files but without a `run.json` that can be read, whose path in the output is the end of
    that of `recording`."""
    parts = recording.absolute().parts
    for folder, folders, files in os.walk(storage.folder):
        inside = Path(folder).relative_to(storage.folder)
        if RUN in files and storage.read_run(inside.as_posix()) is not None:
            folders.clear()
            continue
        ours = (*parts[:-1], hashed_name(recording.name, recording))
        ends = {way[-len(inside.parts) :] for way in (parts, ours)}
        if files and inside.parts and (inside.parts in ends or inside == recording):
            folders.clear()
            yield inside.as_posix()


def _remove(output: Path, name: str) -> list[Removed]:
    """Delete the folder of a recording, `run.json` last, and the folders above it that are then empty."""
    try:
        return _removed(output, name)
    except OSError as error:
        raise OutputError(
            f"cannot remove {error.filename or output / name}: {error.strerror or error}; mend that and run "
            "the same command again"
        ) from error


def _removed(output: Path, name: str) -> list[Removed]:
    folder = output / name
    removed = []
    files = [path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]
    for path in sorted(files, key=lambda path: (path.name == RUN, path)):
        content = b"" if path.is_symlink() else path.read_bytes()
        path.unlink()
        where = path.relative_to(output).as_posix()
        removed.append(Removed(where, len(content), hashlib.sha256(content).hexdigest()))
    for inner in sorted((path for path in folder.rglob("*")), reverse=True):
        inner.rmdir()
    folder.rmdir()
    for above in folder.parents:
        if above == output or any(above.iterdir()):
            break
        above.rmdir()
    return removed


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


def _is_explanation(path: Path, folders: Collection[Path]) -> bool:
    """Whether a file in one of `folders` is of those that `affectstream explain` writes."""
    return path.parent in folders and _EXPLAINED.match(path.name) is not None
