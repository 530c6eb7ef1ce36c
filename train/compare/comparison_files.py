"""A comparison as files: everything as JSON, and a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from affectstream.stream.sinks.base import writing
from affectstream.train.compare.candidates import Candidate
from affectstream.train.compare.comparison import TaskComparison
from affectstream.train.compare.comparison_page import comparison_page
from affectstream.train.compare.recommend import Recommendation
from affectstream.train.files import encode_json, write_atomically
from affectstream.train.pages.elements import write_page

JSON, PAGE = "comparison.json", "report.html"


def write(
    candidates: Sequence[Candidate],
    found: Sequence[TaskComparison],
    recommended: Recommendation,
    folder: Path,
) -> None:
    """Write all results into `folder`. Raises `OutputError` where the disk refuses."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    networks = [
        {
            "name": one.name,
            "split": one.split,
            "content_sha256": one.content,
            "split_sha256": one.splits,
            "parameters": one.parameters,
            "trainable": one.trainable,
            "frozen": one.frozen,
            "cost": one.cost,
            "importance": one.importance,
        }
        for one in candidates
    ]
    document = {
        "schema": "1.0",
        "networks": networks,
        "tasks": found,
        "recommendation": recommended,
    }
    write_atomically(folder / JSON, encode_json(document))
    write_page(comparison_page(candidates, found, recommended), folder / PAGE)
