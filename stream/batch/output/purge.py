"""Removing all that was derived from one recording, and checking that nothing is left of it."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from affectstream.engines.cache.digest import sha256
from affectstream.stream.batch.output.report import FAILURES, summarize, write_failures
from affectstream.stream.batch.output.storage import FolderStorage
from affectstream.stream.batch.plan.task import hashed_name
from affectstream.stream.errors import OptionError, OutputError
from affectstream.stream.explain.explanation import DOCUMENT as EXPLANATION
from affectstream.stream.results.scored import RUN
from affectstream.stream.summary.files import SUMMARY_FILES


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
    found = {
        name: run for name, run in storage.runs() if _belongs(name, run, recording, output, content)
    }
    _check_own_output(found, output)
    found |= {name: {} for name in _unfinished(storage, recording)}
    names = [name for name, _ in storage.runs() if name not in found]
    removed = [one for name in found for one in _remove(output, name)]
    if found:
        write_failures(storage, ())
        summarize(storage)
    traces = _traces(found, names, content)
    files = [path for path in sorted(output.rglob("*")) if path.is_file()]
    left, unread = list[Path](), list[Path]()
    for path in files:
        try:
            if _names(path, traces):
                left.append(path)
        except (OSError, pa.ArrowException):
            unread.append(path)
    explained = {path.parent for path in left if path.name == EXPLANATION}
    left = [path for path in files if path in left or path.parent in explained]
    searched = len(files) - len(unread)
    return Purge(
        _text(recording),
        tuple(removed),
        searched,
        *(tuple(_text(path.relative_to(output)) for path in paths) for paths in (left, unread)),
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
    whole = _text(recording.absolute())
    same_path = run.get("source") in (whole, os.path.realpath(recording))
    identity = run.get("input") or {}
    same_content = content is not None and identity.get("sha256") == content
    in_output = _text((output / name).absolute())
    return same_path or same_content or whole == in_output or _text(recording) == name


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


def _traces(
    found: Mapping[str, Mapping[str, Any]], others: Iterable[str], content: str | None
) -> re.Pattern[bytes] | None:
    """What only this recording's results would hold: its path, the name of its folder and, if no other
    recording has it, its file name; and its hash."""
    traces: set[str | None] = {content}
    shared = {PurePosixPath(name).name for name in others}
    for name, run in found.items():
        traces |= {name, PurePosixPath(name).name, run.get("source")}
        identity = run.get("input") or {}
        traces.add(identity.get("sha256") if identity.get("size") else None)
    known = sorted(trace for trace in traces if trace and trace not in shared)
    if not known:
        return None
    # `one.mp4` is neither in `bone.mp4` nor in `one.mp4.3b99a6b1`, which is another recording.
    whole = b"|".join(re.escape(os.fsencode(trace)) for trace in known)
    return re.compile(rb"(?<![\w-])(?:" + whole + rb")(?!\w|\.[0-9a-f]{8}\b)")


def _names(path: Path, traces: re.Pattern[bytes] | None) -> bool:
    content = path.read_bytes()
    if content[:4] == b"PAR1":
        content += _strings(content)
    return traces is not None and traces.search(content) is not None


def _strings(parquet: bytes) -> bytes:
    """The text in a Parquet file, whose columns are compressed."""
    # With threads the interpreter sometimes aborts at its end (pyarrow 26).
    table = pq.read_table(io.BytesIO(parquet), use_threads=False)
    columns = [
        column
        for column in table.columns
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    ]
    values = {value for column in columns for value in column.unique().to_pylist() if value}
    return "\n".join(sorted(values)).encode()


def _text(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "replace")
