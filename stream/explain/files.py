"""The files that `affectstream explain` writes."""

from __future__ import annotations

import re
from pathlib import Path

from affectstream.stream.errors import OutputError

DOCUMENT, PAGE, VIDEO = "explanation.json", "explanation.html", "explanation.mp4"
_WRITTEN = re.compile(
    r"(?:explanation\.(?:json|html|mp4)|(?:face|frame|voice)(?:_\d+)?\.png)(?:\.[0-9a-f]{8}\.tmp)?"
)
"""With what a process that was killed leaves of them; see `write_atomic`."""


def is_explanation_file(name: str) -> bool:
    """Whether `affectstream explain` writes a file of this name."""
    return _WRITTEN.fullmatch(name) is not None


def remove_earlier(folder: Path, recording: Path) -> None:
    """Remove the files of an earlier explanation, which may be of another recording, from an existing folder.

    `explanation.json` goes last: `affectstream purge` finds the others by it. Raises `OutputError` if
    `recording`, which is explained now, is one of them, and `OSError` if one cannot be removed.
    """
    found = [path for path in folder.iterdir() if is_explanation_file(path.name)]
    if any(path.exists() and path.samefile(recording) for path in found):
        raise OutputError(
            f"the explanation would replace the recording {recording}: choose another --output"
        )
    for path in sorted(found, key=lambda path: path.name == DOCUMENT):
        path.unlink()
