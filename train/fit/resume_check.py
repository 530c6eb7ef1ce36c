"""Whether a run may be gone on with: what is asked for now, against what its checkpoint was begun with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from affectstream.train.config import FitConfig, flag_of
from affectstream.train.errors import RunError
from affectstream.train.fit.checkpoint import dataset_of

FREE = frozenset(
    {
        "epochs",
        "batch_size",
        "accumulate",
        "patience",
        "min_delta",
        "compile",
        "checkpointing",
        "devices",
        "workers",
        "runs",
    }
)
"""Settings that may differ when a run is resumed; of the batch only what one step sees has to stay."""

BY_NAME = ("options", "weights")
"""Settings of several named values each."""
SHOWN = 40
"""Characters of a value that are told; a longer one is a hash, or a file's text."""


def check_same(
    run: Path, saved: Mapping[str, Any], fixed: Mapping[str, Any], config: FitConfig
) -> None:
    """Raise `RunError` where going on would be with another recipe, other data or another course.

    It names the flags that differ, with both values.

    `fixed` has what a checkpoint says of these: ``recipe``, ``setting`` and ``data``. The setting in `saved`
    is to have every field that this version knows.
    """
    if saved["recipe"] != fixed["recipe"]:
        raise RunError(f"{run} holds recipe {saved['recipe']!r}, expected {fixed['recipe']!r}")
    before, now = dict(saved.get("setting") or {}), dict(fixed["setting"] or {})
    found = [*_data(saved, fixed["data"]), *_course(saved["config"], asdict(config), before, now)]
    if found:
        raise RunError(
            f"{run} was begun with {'; '.join(found)}: give the same to resume it, or choose another "
            "folder with --runs"
        )
    # Where the samples came from is told by their hashes above.
    rest = [*_leaves({**before, "data": None}, {**now, "data": None})]
    if rest:
        raise RunError(
            f"{run} was begun by the same flags and yet with {'; '.join(rest)}: what they name has changed "
            "since, or this is another version; choose another folder with --runs"
        )


def _data(saved: Mapping[str, Any], now: Mapping[str, str]) -> Iterator[str]:
    """The data set, where it has other samples, or the same ones under other splits."""
    before = saved.get("data") or dataset_of(saved)
    for name, what in (("content_sha256", "samples"), ("split_sha256", "splits")):
        if name in before and name in now and before[name] != now[name]:
            yield f"other {what} (--data: {name} {_told(before[name])}, now {_told(now[name])})"
            return


def _course(
    begun: Mapping[str, Any],
    wanted: Mapping[str, Any],
    before: Mapping[str, Any],
    now: Mapping[str, Any],
) -> Iterator[str]:
    """The settings that differ, by their flags. Of what a person left to the recipe, what the network was
    made for (`before`, `now`) tells the value."""
    for name in wanted:
        if name not in begun or name in FREE or begun[name] == wanted[name]:
            continue
        if name in BY_NAME:
            old, new = before.get(name, begun[name]), now.get(name, wanted[name])
            for part in dict.fromkeys((*old, *new)):
                if old.get(part) != new.get(part):
                    yield _differs(f"{flag_of(name)} {part}", old.get(part), new.get(part))
        elif name == "size" and "view" in before and "view" in now:
            if before["view"]["size"] != now["view"]["size"]:
                yield _differs(flag_of(name), before["view"]["size"], now["view"]["size"])
        else:
            yield _differs(flag_of(name), begun[name], wanted[name])
    old, new = (c["batch_size"] * c.get("accumulate", 1) for c in (begun, wanted))
    if old != new:
        yield f"{old} samples a step (--batch-size times --accumulate), now {new}"


def _leaves(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """The values that differ, each by the names that lead to it."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for part in dict.fromkeys((*before, *now)):
            yield from _leaves(before.get(part), now.get(part), f"{name}.{part}".lstrip("."))
    elif _listed(before) and _listed(now) and len(before) == len(now):
        for number, (one, other) in enumerate(zip(before, now, strict=True), 1):
            yield from _leaves(one, other, f"{name}.{number}")
    elif before != now:
        yield _differs(name, before, now)


def _listed(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _differs(name: str, before: Any, now: Any) -> str:
    old, new = _told(before), _told(now)
    return f"{name} {old}, now {new}" if old != new else f"another {name}"


def _told(value: Any) -> str:
    """A setting in words, cut short where it is long."""
    if value is None:
        return "not given"
    said = " ".join(map(str, value)) if _listed(value) else str(value)
    return said if len(said) <= SHOWN else f"{said[:12]}..."
