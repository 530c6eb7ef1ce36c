"""Ends the recordings of a worker that died: their events say so, as those of every session do."""

from __future__ import annotations

import logging
from pathlib import Path

from affectstream.stream.events import Stream, encode, parse_event

_log = logging.getLogger(__name__)


def end_recordings(folder: Path, prefix: str, reason: str) -> int:
    """Add an `ended` event to each session below `folder` whose id begins with `prefix` and that has none.

    Returns how many there were. A line that was not written whole is removed.
    """
    count = 0
    for path in sorted(folder.glob(f"*Z-{prefix}*/events.jsonl")):
        try:
            count += _end(path, reason)
        except (OSError, ValueError) as error:
            _log.warning("%s: its end cannot be written: %s", path, error)
    return count


def _end(path: Path, reason: str) -> bool:
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    lines = whole.splitlines()
    if not lines:
        return False
    first, last = parse_event(lines[0]), parse_event(lines[-1])
    if isinstance(last, Stream) and last.what == "ended":
        return False
    ended = Stream(
        stream=first.stream,
        t_start=first.t_start,
        t_end=last.t_end,
        modalities=first.modalities,
        what="ended",
        detail=f"{first.stream}: {reason}",
        complete=False,
    )
    path.write_bytes(whole + encode(ended) + b"\n")
    return True
