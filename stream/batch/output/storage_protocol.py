"""What a batch needs of the place where its results go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from affectstream.stream.results.scored import RUN, run_json


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
        """The name of each recording that was scored, or could not be, and its `run.json`; also of one whose
        results lie within those of another. Of a recording that is alone in the storage there is no name."""
        ...

    def replace_run(self, name: str, run: Mapping[str, Any]) -> None:
        """Write `run.json` of a finished recording anew, whole or not at all. Raises `OutputError`."""
        self.write(f"{name}/{RUN}", run_json(run))

    def begin(self, name: str) -> None:
        """Take back what `run.json` says of a recording that is scored anew: a finished one that is there
        later is of this run, or of another that goes on. Raises `OutputError`."""
        ...

    def scratch(self) -> AbstractContextManager[Path]:
        """A context with the folder in which to score one recording; see `publish`."""
        ...

    def publish(self, scratch: Path, name: str) -> None:
        """Take over the results of one recording from the folder of `scratch`. Raises `OutputError`."""
        ...

    def write(self, filename: str, content: bytes) -> None:
        """Write a file about all recordings, whole or not at all. Raises `OutputError`."""
        ...

    def read(self, filename: str) -> bytes | None:
        """A file, by its path in the storage; None where there is none. Raises `OutputError`."""
        ...

    def files(self) -> list[str]:
        """The paths of all files in the storage, sorted. Raises `OutputError`."""
        ...

    def erase(self, filename: str) -> bytes | None:
        """Remove a file, with older versions that a store keeps of it, and return what it held: nothing of a
        link, which is removed itself, and None where there is no such file. See `keeps` for versions that
        stay. Raises `OutputError`."""
        ...

    def prune(self, folder: str) -> None:
        """Remove folders that are empty: `folder`, those in it, and those above it. Raises `OutputError`."""
        ...

    def erase_versions(self, filename: str) -> None:
        """Remove all older versions that a store keeps of a file that stays; see `keeps`."""
        ...

    def erase_history(self, folder: str) -> None:
        """Remove all versions that a store keeps of what once was in the folder of a recording, if nothing is
        in it now; see `keeps`."""
        ...

    @property
    def keeps(self) -> str | None:
        """Why what was erased may still be there; None where it is known to be gone."""
        ...

    def remove(self, filename: str) -> None:
        """Remove a file about all recordings, if there is one. Raises `OutputError`."""
        ...

    def rebuild(self, build: Callable[[], None]) -> None:
        """Call `build`, which writes the files about all recordings from `runs`, so that of several runs that
        end together the last one to write has seen the results of all. Raises `OutputError`."""
        ...

    def summarized(self, names: Sequence[str]) -> AbstractContextManager[Path]:
        """A context with a folder that holds what a summary of the recordings `names` is made from; the files
        that are written beside their folders are then in the storage. Raises `OutputError`."""
        ...


def run_document(content: bytes) -> dict[str, Any] | None:
    """The document of a `run.json`; None of one that cannot be read."""
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
