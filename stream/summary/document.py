"""`summary.html`: one file that opens offline; its links lead to the reports beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from affectstream.stream.report.html_page import html_page, page_file
from affectstream.stream.summary.compare import (
    MIN_RECORDINGS,
    MIN_ROWS,
    MOST_OUTLIERS,
    OUTLIER_AT,
    OUTLIER_Z,
    GroupMean,
    columns,
)
from affectstream.stream.summary.rows import BRIEF, PAIR_SCHEMA, Collected, Row, schema

_PACKAGE = "affectstream.stream.summary"
_FOOTER = (
    "What faces and voices show is not what people feel. A difference between groups can come from cameras, "
    "light, language or culture as well as from people: look at recordings of both before you believe it."
)


def summary_page(name: str, found: Collected, means: Sequence[GroupMean]) -> str:
    """The page about the folder `name`."""
    names = [*(field.name for field in schema(found.labels)), OUTLIER_AT]
    data = {
        "name": name,
        "labels": found.labels,
        "columns": columns(found.labels),
        "names": names,
        "rows": _columns(found.people, names),
        "pairs": {
            "names": PAIR_SCHEMA.names,
            "rows": _columns(found.pairs, PAIR_SCHEMA.names),
        },
        "means": [asdict(one) for one in means],
        "rules": {
            "brief": BRIEF,
            "z": OUTLIER_Z,
            "outliers_from": MIN_ROWS,
            "outliers_most": MOST_OUTLIERS,
            "interval_from": MIN_RECORDINGS,
        },
    }
    return html_page(
        page_file("summary.html", _PACKAGE),
        kind="summary",
        title=name,
        footer=_FOOTER,
        style=page_file("summary.css", _PACKAGE),
        script=page_file("bands.js") + page_file("summary.js", _PACKAGE),
        data=data,
    )


def _columns(rows: Sequence[Row], names: Sequence[str]) -> dict[str, list[Any]]:
    """Column by column, which takes less space than row by row."""
    return {name: [row.get(name) for row in rows] for name in names}
