"""The folder of one scored recording: its result files, and `run.json` about the run.

Result files do not depend on when, where or how fast they were made, so two runs can be compared byte by
byte. `run.json` holds all of that. It is written last: a folder without it is not complete.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import onnxruntime

from affectstream.engines.bundle.folder import MANIFEST
from affectstream.engines.cache.atomic import write_atomic
from affectstream.engines.cache.digest import sha256
from affectstream.stream.events import SCHEMA, Stream, utc_timestamp
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.results.interpret import HopResult
from affectstream.stream.sinks import Format
from affectstream.stream.sinks.base import FileSink, writing
from affectstream.stream.sinks.by_format import FILE_SINKS

RUN = "run.json"
_PACKAGES = ("affectstream", "av", "numpy")


class OutputFolder:
    """Writes the results of one recording. Use it with ``with``: an error removes unfinished files."""

    def __init__(self, folder: Path, formats: Sequence[Format], recognizer: LoadedBundle) -> None:
        """Create `folder` and its files, and remove those of an older run. Raises `OutputError`."""
        self.folder = folder
        self._recognizer = recognizer
        self._started = datetime.now(UTC)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name in (RUN, *(sink.filename for sink in FILE_SINKS.values())):
                (folder / name).unlink(missing_ok=True)
        self._sinks: list[FileSink] = []
        labels = recognizer.bundle.manifest.labels
        try:
            for name in formats:
                self._sinks.append(FILE_SINKS[name](folder, labels))
        except BaseException:
            self.discard()
            raise

    def push(self, hop: HopResult, end_us: int) -> None:
        """Write one hop to every file."""
        for sink in self._sinks:
            sink.push(hop, end_us)

    def commit(self, source: Path | str, ended: Stream) -> None:
        """Finish every file, then write `run.json`. `source` is the path of a recording or the name of a live
        source."""
        for sink in self._sinks:
            sink.commit()
        text = msgspec.json.format(msgspec.json.encode(self._run_document(source, ended)), indent=2)
        with writing(self.folder / RUN):
            write_atomic(self.folder / RUN, text + b"\n")

    def discard(self) -> None:
        """Remove everything unfinished."""
        for sink in self._sinks:
            sink.discard()

    def _run_document(self, source: Path | str, ended: Stream) -> dict[str, Any]:
        bundle = self._recognizer.bundle
        now = datetime.now(UTC)
        if isinstance(source, Path):
            source = os.fsencode(source.absolute()).decode("utf-8", "replace")
        return {
            "status": "complete" if ended.complete else "incomplete",
            "detail": ended.detail,
            "source": source,
            "media_s": ended.t_end - ended.t_start,
            "wall_s": round((now - self._started).total_seconds(), 3),
            "started_at": utc_timestamp(self._started),
            "finished_at": utc_timestamp(now),
            "counts": ended.counts,
            "bundle": {
                "name": bundle.manifest.name,
                "version": bundle.manifest.version,
                "manifest_sha256": sha256(bundle.folder / MANIFEST),
            },
            "device": self._recognizer.choice.device,
            "device_reason": self._recognizer.choice.reason,
            "threads": self._recognizer.threads,
            "schema": SCHEMA,
            # The package of ONNX Runtime has another name with CUDA.
            "versions": {name: version(name) for name in _PACKAGES}
            | {"onnxruntime": onnxruntime.__version__},
            "python": platform.python_version(),
            "platform": platform.platform(),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.discard()


def folder_names(paths: Sequence[Path]) -> list[str]:
    """A folder name for each recording: its file name without suffix.

    If names repeat, the start of the SHA-256 of the whole path is added to each.
    """
    names = [path.name if path.stem in (".", "..") else path.stem for path in paths]
    return [
        name if names.count(name) == 1 else f"{name}.{_path_hash(path)}"
        for name, path in zip(names, paths, strict=True)
    ]


def live_folder_name(name: str, source: str | None) -> str:
    """A folder name for the live source `name`: for a file the same as `folder_names` gives, for others the
    characters that a folder name can have."""
    if source is not None and name == Path(source).name and Path(source).is_file():
        return folder_names([Path(source)])[0]
    return re.sub(r"[^\w.-]+", "_", name).strip("_.")


def _path_hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:8]
