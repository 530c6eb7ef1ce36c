"""The cache of FP16 graphs.

    half/<key>.onnx      the graph
    half/<key>.sha256    its hash, and the name of the FP32 file
    half/<key>.lock      one process derives, the others wait

A graph without a matching hash is ignored. The time of the `.sha256` file is when the graph was last used.
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
from affectstream.engines.cache.digest import sha256
from affectstream.engines.cache.eviction import delete_file, least_recently_used
from affectstream.engines.cache.home import home

LIMIT_BYTES = 4 << 30
"""Above this total size the least recently used graphs are deleted."""


@dataclass(frozen=True, slots=True)
class Fp16File:
    """One FP16 graph of the cache."""

    path: Path
    name: str
    """Of the FP32 file; empty when it was not recorded."""
    bytes: int
    last_used: datetime


class Fp16Store:
    """The FP16 graphs in one folder. Several processes may use it at once.

    Every method raises `OSError` when the folder cannot be read or written.
    """

    def __init__(self, root: Path | None = None, *, limit_bytes: int = LIMIT_BYTES) -> None:
        """`root` is ``half`` under `home()` by default; the first graph creates it."""
        self.root = home() / "half" if root is None else root
        self._limit_bytes = limit_bytes

    def graph_for(self, key: str, name: str, derive: Callable[[], bytes]) -> Path:
        """The graph of `key`. If it is missing or damaged, `derive` makes it from the file `name`."""
        path = self.root / f"{key}.onnx"
        self.root.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            if _is_complete(path):
                os.utime(_hash_file(path))
                return path
            content = derive()
            write_atomic(path, content)
            write_atomic(
                _hash_file(path), f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode()
            )
        surplus = least_recently_used(self.graphs(), self._limit_bytes)
        self.remove(graph for graph in surplus if graph.path != path)
        return path

    def graphs(self) -> list[Fp16File]:
        """Every graph, most recently used first."""
        graphs = []
        for path in self.root.glob("*.onnx"):
            with suppress(FileNotFoundError):  # deleted meanwhile, or never finished
                beside = _hash_file(path)
                name = beside.read_text("utf-8").partition("  ")[2].strip()
                used = datetime.fromtimestamp(beside.stat().st_mtime, UTC)
                graphs.append(Fp16File(path, name, path.stat().st_size, used))
        return sorted(graphs, key=lambda graph: graph.last_used, reverse=True)

    def remove(self, graphs: Iterable[Fp16File]) -> int:
        """Delete `graphs`; returns the bytes that this freed."""
        freed = 0
        for graph in graphs:
            with _locked(graph.path):
                freed += delete_file(graph.path) + delete_file(_hash_file(graph.path))
        return freed

    def sweep(self) -> int:
        """Delete the files that killed processes left behind; returns the bytes that this freed."""
        known = {path for graph in self.graphs() for path in (graph.path, _hash_file(graph.path))}
        freed = 0
        for path in set(self.root.glob("*")) - known:
            if path.suffix in (".onnx", ".sha256", ".tmp"):
                with _locked(path.with_name(f"{path.name.partition('.')[0]}.onnx")):
                    # Another process may have completed the graph before we got the lock.
                    if not _is_complete(path.with_suffix(".onnx")):
                        freed += delete_file(path)
        return freed


def _locked(path: Path) -> FileLock:
    return FileLock(path.with_suffix(".lock"))


def _hash_file(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _is_complete(path: Path) -> bool:
    try:
        recorded = _hash_file(path).read_text("utf-8").partition(" ")[0].strip()
        return sha256(path) == recorded
    except FileNotFoundError:
        return False
