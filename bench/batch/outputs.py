"""What two runs over the same recordings must leave alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from affectstream.stream.results.scored import RUN

Contents = Mapping[str, bytes]
"""What must be the same, by its path in the output."""

TIMES = ("started_at", "finished_at", "wall_s")
"""Fields of `run.json` that tell when a recording was scored and how long it took: the only ones that may
differ between two runs of one command on one machine."""
PROCESS = ("threads", "device_reason")
"""Fields of `run.json` that say how the process was started, which differ between a machine and a cluster."""


def contents(output: Path, ignored: tuple[str, ...] = TIMES) -> dict[str, bytes]:
    """Every file in `output`, also those that should not be there, such as locks and unfinished files.

    Of `run.json` the fields `ignored` are left out. The summary bears the name of its folder, so two outputs
    must be called the same.
    """
    return {
        path.relative_to(output).as_posix(): _without(path, ignored)
        if path.name == RUN
        else path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file()
    }


def differing(found: Contents, expected: Contents) -> list[str]:
    """The files that differ, or that only one of the two has."""
    return sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))


def _without(path: Path, fields: tuple[str, ...]) -> bytes:
    try:
        run = json.loads(path.read_bytes())
    except ValueError:
        return path.read_bytes()
    return json.dumps({name: run[name] for name in run if name not in fields}).encode()
