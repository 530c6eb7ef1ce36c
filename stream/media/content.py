"""The content of a recording or transcript that is no file yet: bytes, or an open file object."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

from affectstream.stream.errors import OptionError, SourceError

Content: TypeAlias = bytes | bytearray | memoryview | BinaryIO


def content_name(content: Content, name: str | None) -> str:
    """`name`, or the name of the file that a file object was opened from, or ``recording``.

    Raises `OptionError` for a name that is not one of a file.
    """
    opened = getattr(content, "name", None)
    found = name or (Path(opened).name if isinstance(opened, str) else "") or "recording"
    if found != Path(found).name or "\0" in found or len(found.encode()) > 255:
        raise OptionError(f"name={found!r}: expected the name of a file, such as talk.mp4")
    return found


@contextmanager
def as_file(content: Content, name: str) -> Iterator[Path]:
    """A temporary file with this content; it is removed on leaving.

    FFmpeg seeks, and reads a recording more than once (its words come first), so it needs a file. A file
    object is read from where it stands to its end, and not closed. Raises `SourceError`.
    """
    with tempfile.TemporaryDirectory(prefix="affectstream-") as folder:
        path = Path(folder) / name
        try:
            with path.open("wb") as file:
                if isinstance(content, bytes | bytearray | memoryview):
                    file.write(content)
                elif not hasattr(content, "read"):
                    found = type(content).__name__
                    raise TypeError(
                        f"expected a path, bytes or a binary file object, found {found}"
                    )
                else:
                    shutil.copyfileobj(content, file, 2**20)
        except (OSError, TypeError, ValueError) as error:  # a text file gives str
            raise SourceError(f"{name}: cannot be read into a temporary file: {error}") from error
        yield path
