"""Where results go: a folder, or an object store through fsspec (``s3://bucket/results``, ``gs://...``).

An object store has no atomic rename, but it writes each object whole. So the results of a recording are made
in a temporary folder, and `run.json` is sent last.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import msgspec

from affectstream.engines.cache.atomic import write_atomic
from affectstream.engines.extras import Extra, install_hint
from affectstream.stream.errors import OptionError, OutputError
from affectstream.stream.report.people_file import PEOPLE
from affectstream.stream.results.scored import EVENTS, READINGS, RUN, run_json
from affectstream.stream.sinks.base import writing
from affectstream.stream.summary.rows import REPORTS


class Storage(Protocol):
    """The results of many recordings, each by the name of its folder."""

    @property
    def local(self) -> Path | None:
        """The folder, if it is one."""
        ...

    def read_run(self, name: str) -> dict[str, Any] | None:
        """The document of `run.json` of one recording; None where there is none that can be read."""
        ...

    def runs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The name of each recording that was scored, or could not be, and its `run.json`."""
        ...

    def replace_run(self, name: str, run: Mapping[str, Any]) -> None:
        """Write `run.json` of a finished recording anew, whole or not at all. Raises `OutputError`."""
        self.write(f"{name}/{RUN}", run_json(run))

    def scratch(self) -> AbstractContextManager[Path]:
        """A context with the folder in which to score one recording; see `publish`."""
        ...

    def publish(self, scratch: Path, name: str) -> None:
        """Take over the results of one recording from the folder of `scratch`. Raises `OutputError`."""
        ...

    def write(self, filename: str, content: bytes) -> None:
        """Write a file about all recordings, whole or not at all. Raises `OutputError`."""
        ...

    def remove(self, filename: str) -> None:
        """Remove a file about all recordings, if there is one. Raises `OutputError`."""
        ...

    def summarized(self, names: Sequence[str]) -> AbstractContextManager[Path]:
        """A context with a folder that holds what a summary of the recordings `names` is made from; the files
        that are written beside their folders are then in the storage. Raises `OutputError`."""
        ...


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
            return _document((self.folder / name / RUN).read_bytes())
        except OSError:
            return None

    def runs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """See `Storage`."""
        for folder, folders, files in os.walk(self.folder):
            folders.sort()
            name = Path(folder).relative_to(self.folder).as_posix()
            if RUN in files and (run := self.read_run(name)) is not None:
                folders.clear()
                yield name, run

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

    def remove(self, filename: str) -> None:
        """See `Storage`."""
        with writing(self.folder / filename):
            (self.folder / filename).unlink(missing_ok=True)

    @contextmanager
    def summarized(self, names: Sequence[str]) -> Iterator[Path]:
        """See `Storage`."""
        yield self.folder


_AT_ONCE = 16
"""Requests."""
_EXTRAS: Mapping[str, Extra] = {"s3": "s3", "gs": "gcs", "gcs": "gcs"}
"""What serves an address that begins so."""


class ObjectStorage(Storage):
    """A place that fsspec knows."""

    def __init__(self, url: str) -> None:
        """Raises `OptionError` for an address that fsspec cannot serve."""
        try:
            import fsspec
        except ModuleNotFoundError as error:
            raise OptionError(f"{url} needs fsspec: {install_hint('cluster')}") from error
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            extra = _EXTRAS.get(url.partition("://")[0])
            how = str(error) if extra is None else install_hint(extra)
            raise OptionError(f"{url} needs a package of its own: {how}") from error
        except ValueError as error:
            raise OptionError(
                f"{url}: {error}; expected a folder, or an address such as s3://bucket/results"
            ) from error
        self._url = url.rstrip("/")

    def __str__(self) -> str:
        return self._url

    @property
    def local(self) -> None:
        """None."""
        return None

    def read_run(self, name: str) -> dict[str, Any] | None:
        """See `Storage`."""
        with self._sending("read"), suppress(FileNotFoundError):
            return _document(self._files.cat_file(self._path(name, RUN)))
        return None

    def runs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """See `Storage`."""
        with self._sending("read"):
            found = sorted(
                path for path in self._files.find(self._root) if path.endswith(f"/{RUN}")
            )
        start = len(self._root.rstrip("/")) + 1
        names = [path.removesuffix(f"/{RUN}")[start:] for path in found]
        # One request after another takes minutes for ten thousand.
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for name, run in zip(names, pool.map(self.read_run, names), strict=True):
                if run is not None:
                    yield name, run

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """See `Storage`."""
        with TemporaryDirectory(prefix="affectstream-") as folder:
            yield Path(folder)

    def publish(self, scratch: Path, name: str) -> None:
        """See `Storage`."""
        files = sorted((scratch / name).iterdir(), key=lambda file: file.name == RUN)
        with self._sending("write"):
            # Without run.json the rest does not count, so it goes first and comes last.
            for stale in sorted(
                self._existing(name), key=lambda path: not path.endswith(f"/{RUN}")
            ):
                self._files.rm_file(stale)
            for file in files:
                if not file.name.startswith("."):
                    self._files.pipe_file(self._path(name, file.name), file.read_bytes())

    def write(self, filename: str, content: bytes) -> None:
        """See `Storage`."""
        with self._sending("write"):
            self._files.pipe_file(self._path(filename), content)

    def remove(self, filename: str) -> None:
        """See `Storage`."""
        with self._sending("write"), suppress(FileNotFoundError):
            self._files.rm_file(self._path(filename))

    @contextmanager
    def summarized(self, names: Sequence[str]) -> Iterator[Path]:
        """See `Storage`."""
        with TemporaryDirectory(prefix="affectstream-") as scratch:
            # The page bears the name of its folder.
            folder = Path(scratch) / (PurePosixPath(self._root).name or "results")
            folder.mkdir()
            with self._sending("read"):
                existing = set(self._existing())
                wanted = [one for name in names for one in self._numbers(name, existing)]
                for name in names:
                    (folder / name).mkdir(parents=True)
                    for report in REPORTS:
                        if self._path(name, report) in existing:  # only that there is one
                            (folder / name / report).touch()
                if wanted:
                    paths = [self._path(path) for path in wanted]
                    self._files.get(paths, [str(folder / path) for path in wanted])
            yield folder
            for file in sorted(folder.iterdir()):
                if file.is_file():
                    self.write(file.name, file.read_bytes())

    def _numbers(self, name: str, existing: Collection[str]) -> list[str]:
        """What a summary needs of one recording, in the output: its numbers, or else the results that have
        them."""
        has_numbers = self._path(name, PEOPLE) in existing
        files = (PEOPLE,) if has_numbers else (RUN, EVENTS, READINGS)
        return [f"{name}/{file}" for file in files if self._path(name, file) in existing]

    def _existing(self, *parts: str) -> list[str]:
        self._files.invalidate_cache()
        try:
            return [str(path) for path in self._files.find(self._path(*parts))]
        except FileNotFoundError:
            return []

    def _path(self, *parts: str) -> str:
        return "/".join((self._root.rstrip("/"), *parts))

    @contextmanager
    def _sending(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each store has errors of its own
            raise OutputError(f"cannot {what} {self._url}: {error}") from error


def storage_at(output: str | Path) -> FolderStorage | ObjectStorage:
    """The storage at a path or an address.

    Raises `OptionError` for an address that cannot be served, and `OutputError` for a file.
    """
    text = str(output)
    scheme, separator, rest = text.partition("://")
    if separator and scheme != "file":
        return ObjectStorage(text)
    folder = Path(rest) if separator else Path(output)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"cannot write {folder}: it is a file; expected a folder for results")
    return FolderStorage(folder)


def _document(content: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
