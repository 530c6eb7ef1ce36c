"""A bundle takes its place whole: written beside, put there once everything about it is checked."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from affectstream.engines.bundle.bundle import MANIFEST
from affectstream.stream.sinks.base import writing
from affectstream.train.errors import RunError


@contextmanager
def placed(output: Path) -> Iterator[Path]:
    """A new folder to write a bundle into, which becomes `output` when the block ends well.

    An older bundle there is replaced then, and stays as it is when the block fails. Raises `RunError`
    at once for an `output` that holds something else, and `OutputError` where the disk refuses.
    """
    output = output.absolute()
    if output.exists() and not (output / MANIFEST).is_file() and _occupied(output):
        raise RunError(f"{output} holds something that is no bundle: choose another folder")
    beside, older = (output.with_name(f".{output.name}.{what}") for what in ("part", "older"))
    shutil.rmtree(beside, ignore_errors=True)
    try:
        with writing(output):
            beside.mkdir(parents=True)
            yield beside
            if output.exists():
                # Not deleted first: should the next step fail, the older bundle goes back.
                shutil.rmtree(older, ignore_errors=True)
                output.rename(older)
            try:
                beside.rename(output)
            except OSError:
                if older.exists():
                    older.rename(output)
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    shutil.rmtree(older, ignore_errors=True)


def _occupied(output: Path) -> bool:
    return not output.is_dir() or any(output.iterdir())
