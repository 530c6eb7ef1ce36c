"""The folder of one scored recording: its result files, and `run.json` about the run.

Result files do not depend on when, where or how fast they were made, so two runs can be compared byte by
byte. `run.json` holds all of that. It is written last: a folder without it is not complete. Only one process
at a time writes a folder.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from operator import methodcaller
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import onnxruntime

from affectstream.engines.bundle.folder import MANIFEST
from affectstream.engines.cache.atomic import replacing, write_atomic
from affectstream.engines.cache.digest import sha256
from affectstream.engines.daemon_executor import DaemonExecutor
from affectstream.stream.errors import OutputError
from affectstream.stream.events import SCHEMA, Stream, utc_timestamp
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.media.types import Cue
from affectstream.stream.offline.failure import TRACEBACK, Failure, FailureKind
from affectstream.stream.offline.folder_lock import lock_folder, unlock_folder
from affectstream.stream.options import SourceOptions, valid_text
from affectstream.stream.results.interpret import HopResult
from affectstream.stream.results.origin import Origin
from affectstream.stream.results.scored import RUN, Collector, run_json
from affectstream.stream.sinks import Format
from affectstream.stream.sinks.base import FileSink, writing
from affectstream.stream.sinks.by_format import FILE_SINKS, file_writer
from affectstream.stream.sinks.whole import RECORDING_WRITERS, RecordingWriter

PARTIAL = (".*.part", "*.tmp")
"""Patterns of the files that a run leaves unfinished if it is killed."""
_PACKAGES = ("affectstream", "av", "numpy")


class OutputFolder:
    """Writes the results of one recording. Use it with ``with``: an error removes unfinished files."""

    def __init__(
        self,
        folder: Path,
        formats: Sequence[Format],
        recognizer: LoadedBundle,
        stream: str,
        options: SourceOptions | None = None,
        *,
        inputs: Iterable[Path] = (),
        about: Mapping[str, Any] | None = None,
        patience_s: float = 0.0,
    ) -> None:
        """Create `folder` and its files, and remove those of an older run.

        `stream` is the name of the source in events, and `about` what else `run.json` says. Raises
        `OutputError`, also if another process still writes this folder after `patience_s`, or if a result
        would replace one of `inputs`.
        """
        self.folder = folder
        self._formats, self._about = tuple(formats), dict(about or {})
        self._recognizer = recognizer
        self._started = datetime.now(UTC)
        self._options = options or SourceOptions()
        self._sinks: list[FileSink] = []
        writers = [file_writer(name) for name in formats]
        self._writers = [one for one in writers if isinstance(one, RecordingWriter)]
        known = (*FILE_SINKS.values(), *RECORDING_WRITERS.values(), *writers)
        written = {one.filename for one in known}
        results = (RUN, TRACEBACK, *sorted(written))  # without run.json nothing else counts
        with writing(folder):
            _check_inputs(folder, results, inputs)
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(folder, patience_s)
        origin = Origin.of(recognizer.bundle, stream, self._options)
        self._collector = Collector(origin) if self._writers else None
        try:
            with writing(folder):
                for name in results:
                    (folder / name).unlink(missing_ok=True)
                for pattern in PARTIAL:
                    for partial in folder.glob(pattern):
                        partial.unlink(missing_ok=True)
            for one in writers:
                if not isinstance(one, RecordingWriter):
                    self._sinks.append(one(folder, origin))
        except BaseException:
            self.discard()
            raise

    def push(self, hop: HopResult, end_us: int) -> None:
        """Write one hop to every file."""
        for sink in self._sinks:
            sink.push(hop, end_us)
        if self._collector is not None:
            self._collector.push(hop, end_us)

    def commit(
        self,
        source: Path | str,
        ended: Stream,
        words: Sequence[Cue] = (),
        kind: FailureKind | None = None,
    ) -> tuple[str, ...]:
        """Finish every file, then write `run.json`. Returns which files were not written, and why.

        `source` is the path of a recording or the name of a live source, `words` are its transcript, and
        `kind` says why it is incomplete: by default because the input ends early.
        """
        # Side by side: most of it is waiting for the disk.
        with DaemonExecutor(len(self._sinks) or 1, "commit") as pool:
            list(pool.map(methodcaller("commit"), self._sinks))
        left_out: list[str] = []
        failure = None if ended.complete else Failure(kind or "input", ended.detail or "")
        run = self._run_document(source, failure, ended)
        if self._collector is not None:
            recording = self._collector.recording(Path(source), words, run)
            for writer in self._writers:
                if (what := writer.lacks(recording)) is not None:
                    left_out.append(f"no {writer.filename}, since the recording has no {what}")
                    continue
                path = self.folder / writer.filename
                with writing(path), replacing(path) as scratch:
                    writer.write(recording, scratch)
        self._write_run(run)
        return tuple(left_out)

    def commit_failure(self, source: Path, failure: Failure) -> None:
        """Write `run.json` of a recording that has no results, and why."""
        self._write_run(self._run_document(source, failure))

    def _write_run(self, run: dict[str, Any]) -> None:
        with writing(self.folder / RUN):
            write_atomic(self.folder / RUN, run_json(run))
        unlock_folder(self._lock)

    def discard(self) -> None:
        """Remove everything unfinished."""
        for sink in self._sinks:
            sink.discard()
        unlock_folder(self._lock)

    def _run_document(
        self, source: Path | str, failure: Failure | None, ended: Stream | None = None
    ) -> dict[str, Any]:
        bundle = self._recognizer.bundle
        now = datetime.now(UTC)
        if isinstance(source, Path):
            source = valid_text(source.absolute())
        return {
            "status": "failed"
            if ended is None
            else "incomplete"
            if failure is not None
            else "complete",
            "complete": failure is None,
            "failure": None
            if failure is None
            else {"kind": failure.kind, "reason": failure.reason},
            "detail": None if failure is None else failure.reason,
            "source": source,
            "media_s": 0.0 if ended is None else ended.t_end - ended.t_start,
            "wall_s": round((now - self._started).total_seconds(), 3),
            "started_at": utc_timestamp(self._started),
            "finished_at": utc_timestamp(now),
            "counts": {} if ended is None else ended.counts,
            "bundle": {
                "name": bundle.manifest.name,
                "version": bundle.manifest.version,
                "labels": bundle.manifest.labels,
                "manifest_sha256": sha256(bundle.folder / MANIFEST),
            },
            "options": self._options.described(),
            "purpose": self._options.purpose,
            "consent": self._options.consent,
            "formats": self._formats,
            "device": self._recognizer.choice.device,
            "device_reason": self._recognizer.choice.reason,
            "threads": self._recognizer.threads,
            "schema": SCHEMA,
            # The package of ONNX Runtime has another name with CUDA.
            "versions": {name: version(name) for name in _PACKAGES}
            | {"onnxruntime": onnxruntime.__version__},
            "python": platform.python_version(),
            "platform": platform.platform(),
            **self._about,
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
        unlock_folder(self._lock)


def _check_inputs(folder: Path, results: Iterable[str], inputs: Iterable[Path]) -> None:
    """Raise `OutputError` if `folder`, or a file of `results` in it, is one of `inputs`."""
    if folder.is_file():
        raise OutputError(
            f"the results need the folder {folder}, where a file of that name stands: "
            "choose another --output"
        )
    existing = [folder / name for name in results if (folder / name).exists()]
    for path in inputs if existing else ():
        for result in existing:
            if path.exists() and result.samefile(path):
                raise OutputError(
                    f"a result would replace the input {path}: choose another --output"
                )


def folder_names(paths: Sequence[Path]) -> list[str]:
    """A folder name for each recording: its file name.

    If names repeat, the start of the SHA-256 of the whole path is added to each.
    """
    names = [path.name for path in paths]
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
