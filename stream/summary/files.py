"""Writes `summary.parquet`, `summary.csv`, `pairs.csv` and `summary.html` across a folder of results."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from affectstream.engines.cache.atomic import write_atomic
from affectstream.stream.sinks.base import writing
from affectstream.stream.summary.compare import group_means, mark_outliers
from affectstream.stream.summary.document import summary_page
from affectstream.stream.summary.rows import Collected, collect

TABLE, CSV, PAIRS, PAGE = "summary.parquet", "summary.csv", "pairs.csv", "summary.html"
SUMMARY_FILES = (TABLE, CSV, PAIRS, PAGE)


def write_summary(output: Path, runs: Iterable[tuple[str, Mapping[str, Any]]]) -> Collected:
    """Write the summary of `runs` (the name of each recording, its folder in `output`, and its `run.json`).

    The same results give the same bytes. Raises `OutputError` if a file cannot be written.
    """
    found = collect(output, runs)
    mark_outliers(found.people, found.labels)
    table = found.table()
    parquet = io.BytesIO()
    pq.write_table(table, parquet, compression="zstd")
    page = summary_page(output.absolute().name, found, group_means(found.people, found.labels))
    contents = {
        TABLE: parquet.getvalue(),
        CSV: _csv(table),
        PAIRS: _csv(found.pair_table()),
        PAGE: page.encode(),
    }
    for name, content in contents.items():
        with writing(output / name):
            write_atomic(output / name, content)
    return found


def _csv(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pc.write_csv(table, file)
    return file.getvalue()
