"""Many recordings from Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from affectstream.stream.batch.output.storage import storage_at
from affectstream.stream.batch.plan.find import find_tasks
from affectstream.stream.batch.plan.shard import Shard
from affectstream.stream.batch.run import BatchOptions, BatchResult, score_batch
from affectstream.stream.errors import OptionError
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.options import SourceOptions
from affectstream.stream.sinks import DEFAULT_FORMATS
from affectstream.stream.sinks.by_format import file_writer, format_names


def score_many(
    recognizer: LoadedBundle,
    sources: str | Path | Iterable[str | Path],
    output: str | Path,
    options: SourceOptions,
    *,
    formats: Sequence[str] | None,
    workers: int | None,
    shard: str | None,
    cluster: str | None,
    overwrite: bool,
    retry_failed: bool,
    progress: bool,
) -> BatchResult:
    """See `Recognizer.score_many`."""
    chosen = DEFAULT_FORMATS if formats is None else tuple(dict.fromkeys(formats))
    if unknown := sorted({*chosen} - {*format_names()}):
        raise OptionError(
            f"formats: {', '.join(unknown)} not known; expected some of {', '.join(format_names())}"
        )
    for name in chosen:
        file_writer(name)
    if workers is not None and workers < 1:
        raise OptionError(f"workers must be at least 1, found {workers}")
    given = [sources] if isinstance(sources, str | Path) else list(sources)
    batch = BatchOptions(
        formats=chosen,
        workers=workers,
        overwrite=overwrite,
        retry_failed=retry_failed,
        shard=None if shard is None else Shard.parse(shard),
        cluster=cluster,
        progress=progress,
    )
    console = None if progress else Console(quiet=True)
    storage = storage_at(output)
    tasks = find_tasks(given, options, storage.local)
    result = score_batch(recognizer, tasks, storage, batch, console)
    if result.interrupted:
        raise KeyboardInterrupt
    return result
