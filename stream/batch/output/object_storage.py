"""Results on an object store, through fsspec.

An object store has no atomic rename, but it writes each object whole. So the results of a recording are made
in a temporary folder, and `run.json` is sent last.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from affectstream.engines.extras import Extra, install_hint
from affectstream.stream.batch.output.storage_protocol import Storage, run_document
from affectstream.stream.batch.output.store_versions import StoreVersions
from affectstream.stream.errors import OptionError, OutputError
from affectstream.stream.report.people_file import PEOPLE
from affectstream.stream.results.scored import EVENTS, READINGS, RUN
from affectstream.stream.summary.rows import REPORTS

_AT_ONCE = 16
"""Requests."""
_MOST_BUILDS = 5
"""Results that come later still are those of runs that go on, and see to it when they end."""
_VERSION_KEYS = ("ETag", "etag", "LastModified", "mtime", "created", "size")
"""What stores say of the version of an object."""
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
        self._versions_of = StoreVersions(self._files, self._url)

    def __str__(self) -> str:
        return self._url

    @property
    def local(self) -> None:
        """None."""
        return None

    def read_run(self, name: str) -> dict[str, Any] | None:
        """See `Storage`."""
        with self._sending("read"), suppress(FileNotFoundError):
            return run_document(self._files.cat_file(self._path(name, RUN)))
        return None

    def runs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """See `Storage`."""
        with self._sending("read"):
            found = sorted(path for path in self._existing() if path.endswith(f"/{RUN}"))
        start = len(self._root.rstrip("/")) + 1
        names = [name for path in found if (name := path.removesuffix(f"/{RUN}")[start:])]
        # One request after another takes minutes for ten thousand.
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for name, run in zip(names, pool.map(self.read_run, names), strict=True):
                if run is not None:
                    yield name, run

    def begin(self, name: str) -> None:
        """See `Storage`. Stores with versions would mark what is not there as removed."""
        if self.read(f"{name}/{RUN}") is not None:
            self.remove(f"{name}/{RUN}")

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

    def read(self, filename: str) -> bytes | None:
        """See `Storage`."""
        with self._sending("read"), suppress(FileNotFoundError):
            return bytes(self._files.cat_file(self._path(filename)))
        return None

    def rebuild(self, build: Callable[[], None]) -> None:
        """See `Storage`. Stores have no locks: if results have come meanwhile, everything is built anew."""
        for _ in range(_MOST_BUILDS):
            before = self._versions()
            build()
            if self._versions() == before:
                return

    def files(self) -> list[str]:
        """See `Storage`."""
        start = len(self._root.rstrip("/")) + 1
        with self._sending("read"):
            return sorted(path[start:] for path in self._existing())

    def erase(self, filename: str) -> bytes | None:
        """See `Storage`."""
        content = self.read(filename)
        self.remove(filename)
        self._versions_of.erase(self._path(filename), newest=True)
        return content

    def prune(self, folder: str) -> None:
        """See `Storage`. A store has no folders."""
        return

    def erase_history(self, folder: str) -> None:
        """See `Storage`."""
        with self._sending("read"):
            existing = self._existing(folder)
        if not existing:
            self._versions_of.erase(self._path(folder, ""), newest=True)

    def erase_versions(self, filename: str) -> None:
        """See `Storage`."""
        self._versions_of.erase(self._path(filename), newest=False)

    @property
    def keeps(self) -> str | None:
        """See `Storage`."""
        return self._versions_of.keeps

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

    def _versions(self) -> dict[str, tuple[str, ...]]:
        """What tells another version of each `run.json` apart."""
        self._files.invalidate_cache()
        with self._sending("read"), suppress(FileNotFoundError):
            found = self._files.find(self._root, detail=True)
            return {
                path: tuple(str(about.get(key)) for key in _VERSION_KEYS)
                for path, about in found.items()
                if path.endswith(f"/{RUN}")
            }
        return {}

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
