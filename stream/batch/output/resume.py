"""What an earlier run has left to do."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.manifest import Manifest
from affectstream.stream.batch.output.identity import (
    is_unchanged,
    made_by,
    options_hash,
    transcript_of,
)
from affectstream.stream.batch.output.outcome import Outcome
from affectstream.stream.batch.output.storage import Storage
from affectstream.stream.batch.plan.task import Task
from affectstream.stream.errors import OptionError
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.offline.failure import Failure
from affectstream.stream.options import SourceOptions, valid_name, valid_text
from affectstream.stream.sinks import Format

_MAX_SHOWN = 5


@dataclass(slots=True)
class Remaining:
    """The recordings of a batch, by what is left to do."""

    todo: list[Task] = field(default_factory=list)
    done: list[Outcome] = field(default_factory=list)
    """What an earlier run has finished."""
    changed: list[Task] = field(default_factory=list)
    """Those of `todo` whose recording or transcript is another one than before."""
    regrouped: dict[str, dict[str, Any]] = field(default_factory=dict)
    """`run.json` of those of `done` that have another group in the manifest now, by name. A group changes no
    result, only what summaries compare."""


def remaining(
    tasks: Iterable[Task],
    storage: Storage,
    recognizer: LoadedBundle,
    formats: Sequence[Format],
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
) -> Remaining:
    """Sort `tasks` by what `storage` holds of them.

    A recording is finished if `run.json` says that it is complete, or that the recording itself is damaged
    (`retry_failed` tries these again), and if recording and transcript are what they were. Raises
    `OptionError` for results that another version, another bundle or other options have made, unless
    `overwrite` lets them be scored again.
    """
    found = Remaining()
    others: list[str] = []
    now, manifest = made_by(recognizer), recognizer.bundle.manifest
    for task in tasks:
        run = storage.read_run(task.name)
        outcome = None if run is None else outcome_of(task.name, run)
        if run is None or outcome is None or not outcome.finished:
            found.todo.append(task)
        elif (what := _difference(run, task, now, manifest, formats)) is not None:
            found.todo.append(task)
            others.append(f"{task.name}: {what}")
        elif outcome.failure is not None and retry_failed:
            found.todo.append(task)
        elif not _is_same_input(task, run, recognizer.bundle):
            found.todo.append(task)
            found.changed.append(task)
            if not _is_same_path(task, run) and not is_unchanged(task.path, run.get("input")):
                others.append(f"{task.name}: recording {run['source']}, now {task.path}")
        else:
            found.done.append(outcome)
            if task.group is not None and (task.group or None) != run.get("group"):
                found.regrouped[task.name] = run | {"group": task.group or None}
    if others and not overwrite:
        more = len(others) - _MAX_SHOWN
        shown = [*others[:_MAX_SHOWN], *([f"and {more} more"] if more > 0 else ())]
        raise OptionError(
            f"{storage} holds results of {len(others)} of these recordings that were made in another way:\n"
            + "\n".join(shown)
            + "\nChoose --overwrite to score them again, or another --output"
        )
    return found


def outcome_of(name: str, run: Mapping[str, Any]) -> Outcome | None:
    """What the document of `run.json` says; None where it does not say it, as older versions wrote it."""
    try:
        failure = None
        if run["failure"] is not None:
            failure = Failure(run["failure"]["kind"], run["failure"]["reason"])
        return Outcome(name, run["status"], failure, run["media_s"], done_before=True)
    except KeyError:
        return None


def _is_same_input(task: Task, run: Mapping[str, Any], bundle: Bundle) -> bool:
    words = run.get("transcript")
    if not is_unchanged(task.path, run.get("input")):
        return False
    now = transcript_of(task, bundle)
    if words is None or now is None:
        return words is None and now is None
    return valid_name(now) == words["name"] and is_unchanged(now, words["file"])


def _is_same_path(task: Task, run: Mapping[str, Any]) -> bool:
    """Whether other content under the same name is a new version of the recording, and no other recording."""
    source: str = run["source"]
    return valid_text(task.path.absolute()) == source or os.path.realpath(
        task.path
    ) == os.path.realpath(source)


def _difference(
    run: Mapping[str, Any],
    task: Task,
    now: Mapping[str, str],
    manifest: Manifest,
    formats: Sequence[Format],
) -> str | None:
    """What is other than in `run`; None where nothing is."""
    before = run.get("made_with", {})
    if before.get("affectstream") != now["affectstream"] or before.get("schema") != now["schema"]:
        return (
            f"version {before.get('affectstream')} with events {before.get('schema')}, "
            f"now {now['affectstream']} with {now['schema']}"
        )
    if before.get("bundle") != now["bundle"]:
        old = run["bundle"]
        return f"bundle {old['name']} {old['version']}, now {manifest.name} {manifest.version}"
    if before.get("options") != options_hash(task.options):
        return _option_difference(run, task.options)
    missing = [name for name in formats if name not in run.get("formats", ())]
    if missing and run["status"] != "failed":
        every = ",".join((*run.get("formats", ()), *missing))
        return f"without --format {','.join(missing)} (all of them: --format {every})"
    return None


def _option_difference(run: Mapping[str, Any], options: SourceOptions) -> str:
    before: Mapping[str, Any] = run.get("options", {})
    plain = msgspec.json.decode(msgspec.json.encode(options.described()))
    names = {*before, *plain}
    if options_hash(options, before) == run["made_with"]["options"]:
        names -= {"metadata", "max_pixels"}  # unchanged; older versions did not state them
    changed = [
        f"{name} {before.get(name, 'default')}, now {plain.get(name, 'default')}"
        for name in sorted(names)
        if before.get(name) != plain.get(name)
    ]
    return "; ".join(changed) or "other metadata of the speakers"
