"""Results in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from affectstream.engines.cache.atomic import write_atomic
from affectstream.stream.batch.output.storage_protocol import Storage, run_document
from affectstream.stream.errors import OutputError
from affectstream.stream.offline.folder_lock import lock_folder, unlock_folder
from affectstream.stream.results.scored import RUN
from affectstream.stream.sinks.base import writing

_PATIENCE_S = 600.0
"""How long to wait for other runs that end at the same time."""
_PARTIAL = f"*.{'[0-9a-f]' * 8}.tmp"
"""What a run that was killed leaves; see `write_atomic`."""


class FolderStorage(Storage):
    """A folder of this machine or one that machines share. Results are made where they stay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def local(self) -> Path:
        """The folder."""
        return self.folder

    def read_run(self, name: str) -> dict[str, Any] | None:
        """See `Storage`."""
        try:
            return run_document((self.folder / name / RUN).read_bytes())
        except OSError:
            return None

    def runs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """See `Storage`."""
        for folder, folders, files in os.walk(self.folder):
            folders.sort()
            name = Path(folder).relative_to(self.folder).as_posix()
            if name != "." and RUN in files and (run := self.read_run(name)) is not None:
                yield name, run

    def begin(self, name: str) -> None:
        """See `Storage`. `OutputFolder` does it once it has the folder for itself."""
        return

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """See `Storage`."""
        yield self.folder

    def publish(self, scratch: Path, name: str) -> None:
        """See `Storage`."""
        return

    def write(self, filename: str, content: bytes) -> None:
        """See `Storage`."""
        path = self.folder / filename
        with writing(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content)

    def read(self, filename: str) -> bytes | None:
        """See `Storage`."""
        path = self.folder / filename
        with writing(path):
            return path.read_bytes() if path.is_file() else None

    def files(self) -> list[str]:
        """See `Storage`. Links are files."""
        found = [path for path in self.folder.rglob("*") if not path.is_dir() or path.is_symlink()]
        return sorted(path.relative_to(self.folder).as_posix() for path in found)

    def erase(self, filename: str) -> bytes | None:
        """See `Storage`."""
        path = self.folder / filename
        with _removing(path):
            try:
                content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
                path.unlink()
            except FileNotFoundError:
                return None
        return content

    def prune(self, folder: str) -> None:
        """See `Storage`."""
        place = self.folder / folder
        with _removing(place):
            folders = (one for one in place.rglob("*") if one.is_dir() and not one.is_symlink())
            for inner in sorted(folders, reverse=True):
                _remove_if_empty(inner)
            for one in (place, *place.parents):
                if one == self.folder or not _remove_if_empty(one):
                    break

    def erase_versions(self, filename: str) -> None:
        """See `Storage`. A folder has none."""
        return

    def erase_history(self, folder: str) -> None:
        """See `Storage`. A folder has none."""
        return

    @property
    def keeps(self) -> None:
        """None: a folder keeps nothing."""
        return None

    def remove(self, filename: str) -> None:
        """See `Storage`."""
        with writing(self.folder / filename):
            (self.folder / filename).unlink(missing_ok=True)

    def rebuild(self, build: Callable[[], None]) -> None:
        """See `Storage`. One process at a time."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = lock_folder(self.folder, _PATIENCE_S)
            try:
                for partial in self.folder.glob(_PARTIAL):
                    partial.unlink(missing_ok=True)
                build()
            finally:
                unlock_folder(lock)

    @contextmanager
    def summarized(self, names: Sequence[str]) -> Iterator[Path]:
        """See `Storage`."""
        yield self.folder


def _remove_if_empty(folder: Path) -> bool:
    if folder.is_dir() and any(folder.iterdir()):
        return False
    with suppress(FileNotFoundError):
        folder.rmdir()
    return True


@contextmanager
def _removing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot remove {error.filename or path}: {error.strerror or error}; mend that and run the same "
            "command again"
        ) from error
