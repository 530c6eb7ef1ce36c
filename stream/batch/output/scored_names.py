"""Whether recordings that are scored now may have their names beside the results that an output holds."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from affectstream.stream.batch.output.identity import is_unchanged
from affectstream.stream.batch.output.storage import Storage
from affectstream.stream.batch.plan.parts import folded, folders_above
from affectstream.stream.batch.plan.task import Task, range_name
from affectstream.stream.errors import OptionError
from affectstream.stream.options import valid_text

_MAX_SHOWN = 5
Runs = Mapping[str, Mapping[str, Any]]
Span = tuple[float | None, float | None]
"""Start and end in seconds; None: those of the recording."""


def check_names(todo: Collection[Task], tasks: Iterable[Task], storage: Storage) -> None:
    """Raise `OptionError` for those of `todo` whose results would lie in others or hold others, so that some
    would be lost, and for those that `storage` has under another name, so that they would count twice.

    `tasks` are all of the batch, also those of other shards: two of them may be the same part of a recording,
    since a table says so.
    """
    if not todo:
        return
    runs = dict(storage.runs())
    _refuse(
        "the results of some recordings would lie within those of others, which need folders of their own",
        _within(todo, runs, storage),
        "Write another name in the column name of a table, or choose another --output",
    )
    others = {name: runs[name] for name in runs.keys() - {task.name for task in tasks}}
    _refuse(
        "some recordings are scored already under another name, and would be counted twice",
        _scored([task for task in todo if task.name not in runs], others, storage),
        f"Or remove what is there with affectstream purge NAME --output {storage}, or choose another "
        "--output",
    )


def _refuse(what: str, found: Iterable[str], choice: str) -> None:
    if lines := list(found):
        more = len(lines) - _MAX_SHOWN
        shown = [*lines[:_MAX_SHOWN], *([f"and {more} more"] if more > 0 else ())]
        raise OptionError("\n".join((what, *shown, choice)))


def _within(todo: Iterable[Task], runs: Runs, storage: Storage) -> Iterator[str]:
    named = {folded(name): name for name in runs}
    holding = {above: name for name in runs for above in folders_above(name)}
    for task in todo:
        around = [named[above] for above in folders_above(task.name) if above in named]
        inside = [holding[name] for name in (folded(task.name),) if name in holding]
        for other in (*around, *inside):
            yield (
                f"{storage}/{task.name} of {task.path}, and {storage}/{other} of "
                f"{runs[other].get('source')}"
            )


def _scored(new: Iterable[Task], others: Runs, storage: Storage) -> Iterator[str]:
    """What `others` hold of the recordings in `new`: of the same path and part, or of the same content and
    part where there is nothing any more at the path."""
    by_path = dict[tuple[str, Span], str]()
    moved = dict[tuple[int, Span], list[str]]()
    for name, run in sorted(others.items(), reverse=True):
        source, span = str(run.get("source")), _span(run.get("options") or {})
        by_path[_real(source), span] = name
        size = (run.get("input") or {}).get("size")
        if size and not Path(source).exists():
            moved.setdefault((size, span), []).append(name)
    for task in new:
        span = _span(task.options.described())
        other = by_path.get((_real(task.path), span))
        if other is None and moved and task.path.is_file():
            same_size = moved.get((task.path.stat().st_size, span), ())
            same = (one for one in same_size if is_unchanged(task.path, others[one]["input"]))
            other = next(same, None)
        if other is not None:
            part = range_name(task.options)
            yield (
                f"{storage}/{other} holds the results of {task.path}{f', {part} s' if part else ''}, which "
                f"would be scored again as {task.name}: write {other} in its column name"
            )


def _real(path: str | Path) -> str:
    """A path as `run.json` can hold it, without links."""
    return valid_text(Path(os.path.realpath(path)))


def _span(options: Mapping[str, Any]) -> Span:
    return options.get("start_s") or None, options.get("end_s")
