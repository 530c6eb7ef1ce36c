"""The cache of derived graphs.

    half/<key>.onnx      the graph
    half/<key>.sha256    the hash of that, and the name of the file that it was derived from
    half/<key>.lock      one process derives, the others wait for it

Without a hash that fits, a file does not count. When a graph was last asked for is the time of its
`.sha256`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from affectstream.engines.cache.atomic import write_atomic
from affectstream.engines.cache.home import home
from affectstream.engines.cache.lru import least_recently_used

LIMIT_BYTES = 4 << 30
"""Graphs that were not used for longest go when all are larger than this."""


@dataclass(frozen=True, slots=True)
class Fp16File:
    """A derived graph, as it was when it was looked for."""

    path: Path
    name: str
    """Of the file that it was derived from, empty where that was not written down."""
    bytes: int
    last_used: datetime


class Fp16Store:
    """The derived graphs under one folder. Several processes may use it at once.

    Every method raises `OSError` where the folder refuses.
    """

    def __init__(self, root: Path | None = None, *, limit_bytes: int = LIMIT_BYTES) -> None:
        """`root` is ``half`` under `home()` unless given; it is made when the first graph is."""
        self.root = home() / "half" if root is None else root
        self._limit_bytes = limit_bytes

    def graph_for(self, key: str, name: str, derive: Callable[[], bytes]) -> Path:
        """The file of `key`, made by `derive` of the file `name` unless it is here and whole."""
        path = self.root / f"{key}.onnx"
        self.root.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            if _is_whole(path):
                os.utime(_note(path))
                return path
            content = derive()
            write_atomic(path, content)
            write_atomic(_note(path), f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode())
        self._make_room(keep=path)
        return path

    def graphs(self) -> list[Fp16File]:
        """Every graph, the last used first."""
        found = []
        for path in self.root.glob("*.onnx"):
            with suppress(FileNotFoundError):  # gone by now, or never finished
                note = _note(path)
                name = note.read_text("utf-8").partition("  ")[2].strip()
                used = datetime.fromtimestamp(note.stat().st_mtime, UTC)
                found.append(Fp16File(path, name, path.stat().st_size, used))
        return sorted(found, key=lambda graph: graph.last_used, reverse=True)

    def remove(self, graphs: Iterable[Fp16File]) -> int:
        """Delete `graphs`; the number of bytes that this freed."""
        freed = 0
        for graph in graphs:
            with _locked(graph.path):
                freed += _unlink(graph.path) + _unlink(_note(graph.path))
        return freed

    def sweep(self) -> int:
        """Delete what a process that was killed left behind; the number of bytes that this freed."""
        whole = {path for graph in self.graphs() for path in (graph.path, _note(graph.path))}
        freed = 0
        for path in set(self.root.glob("*")) - whole:
            if path.suffix in (".onnx", ".sha256", ".tmp"):
                with _locked(path.with_name(f"{path.name.partition('.')[0]}.onnx")):
                    # Another process may have finished it while we waited.
                    if not _is_whole(path.with_suffix(".onnx")):
                        freed += _unlink(path)
        return freed

    def _make_room(self, keep: Path) -> None:
        going = [
            one for one in least_recently_used(self.graphs(), self._limit_bytes) if one.path != keep
        ]
        self.remove(going)


def _locked(path: Path) -> FileLock:
    return FileLock(path.with_suffix(".lock"))


def _note(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _is_whole(path: Path) -> bool:
    try:
        recorded = _note(path).read_text("utf-8").partition(" ")[0].strip()
        return hashlib.sha256(path.read_bytes()).hexdigest() == recorded
    except FileNotFoundError:
        return False


def _unlink(path: Path) -> int:
    """Delete a file; the bytes that this freed, none where it was gone."""
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    return size
