"""Why a recording has no results, or not all: for people, and to decide whether to try it again."""

from __future__ import annotations

import tempfile
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from affectstream.engines.errors import AffectstreamError
from affectstream.stream.errors import OutputError, ProcessDied, SourceError, UsageError

TRACEBACK = "traceback.txt"

FailureKind = Literal["input", "option", "output", "program", "crash", "interrupted"]
"""`input`: the recording is damaged or cannot be used. `option`: the options do not fit it. `output`: a
result cannot be written. `program`: an unexpected error, a defect of this program. `crash`: the process died.
`interrupted`: somebody stopped it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a recording is not complete."""

    kind: FailureKind
    reason: str
    """Without the path of the recording, where it would begin with it."""

    def message(self, path: Path) -> str:
        """The reason for people, with the path of the recording."""
        return self.reason if str(path) in self.reason else f"{path}: {self.reason}"


def failure_of(path: Path, error: Exception, folder: Path | None = None) -> Failure:
    """What went wrong in the file `path`. An unexpected error leaves its traceback in a file, in `folder` if
    that exists."""
    if isinstance(error, AffectstreamError):
        return Failure(_kind(error), _valid(str(error).removeprefix(f"{path}: ")))
    kind = type(error).__name__
    text = f"unexpected error, a defect of affectstream: {kind}: {error}".removesuffix(": ")
    where = _write_traceback(error, folder)
    what = (
        f"the traceback in {where}"
        if where is not None
        else f"this traceback, which no file could take:\n{_trace(error)}"
    )
    return Failure("program", _valid(f"{text}; please report it with {what}"))


def _valid(text: str) -> str:
    """`text` as UTF-8 can hold it: a file name may have other bytes."""
    return text.encode("utf-8", "replace").decode()


def _kind(error: AffectstreamError) -> FailureKind:
    match error:
        case UsageError():
            return "option"
        case SourceError():
            return "input"
        case OutputError():
            return "output"
        case ProcessDied():
            return "crash"
        case _:
            return "program"


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


def _write_traceback(error: Exception, folder: Path | None) -> Path | None:
    """Write the traceback to `folder`, or else to the system's folder for temporary files."""
    content = _trace(error).encode("utf-8", "backslashreplace")
    with suppress(OSError):  # a name that is too long is one too
        if folder is not None and folder.is_dir():
            file = folder / TRACEBACK
            file.unlink(missing_ok=True)
            with file.open("xb") as opened:
                opened.write(content)
            return file
    with (
        suppress(OSError),
        tempfile.NamedTemporaryFile(
            prefix="affectstream-", suffix=".txt", delete=False
        ) as temporary,
    ):
        temporary.write(content)
        return Path(temporary.name)
    return None
