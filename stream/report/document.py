"""`report.html`: one file that opens offline and fetches nothing."""

from __future__ import annotations

import mimetypes
import os
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from affectstream.stream.annotations.media_link import relative_path
from affectstream.stream.options import valid_name
from affectstream.stream.overlay.portraits import portraits
from affectstream.stream.report.content import content
from affectstream.stream.report.explain_command import explain_arguments
from affectstream.stream.report.html_page import KEEP_IT, html_page, page_file
from affectstream.stream.report.provenance import limits, made
from affectstream.stream.results.scored import ScoredRecording

_SCRIPTS = ("bands.js", "data.js", "player.js", "lanes.js", "moment.js", "tables.js", "start.js")
MOST_EMBEDDED = 350_000_000
"""The largest recording that a page holds, in bytes: Chromium refuses addresses of more than 512 MB."""
_UPLOT = "uplot/uPlot.iife.min.js", "uplot/uPlot.min.css"


def write(recording: ScoredRecording, path: Path) -> None:
    """Write the report of `recording` to `path`. It plays the recording from where it lies."""
    path.write_text(report_page(recording, _linked(recording.path, path)), "utf-8")


def write_embedded(recording: ScoredRecording, path: Path) -> None:
    """Write a report that holds the recording itself, which takes a third more than the recording, and a
    picture of each person. Raises `OSError` for a recording that is too large."""
    media = _embedded(recording.path)
    pictures = {} if media is None else portraits(recording)
    path.write_text(report_page(recording, media, pictures), "utf-8")


def report_page(
    recording: ScoredRecording,
    media: Mapping[str, Any] | None = None,
    pictures: Mapping[int, str] | None = None,
) -> str:
    """The page. `media` has the `name`, the `kind` and the `source` (an address) of what it plays, and
    `pictures` the address of a picture of each track."""
    shown = content(
        name=recording.name,
        events=recording.events,
        readings=recording.readings,
        labels=recording.labels,
        words=recording.words,
        names=recording.options.get("names"),
    )
    bundle = recording.bundle
    about = {
        "bundle": f"{bundle['name']} {bundle['version']}",
        "made": made(recording, shown),
        "limits": limits(shown),
        "media": media,
        "portraits": pictures or {},
        "explain": explain_arguments(recording),
    }
    return html_page(
        page_file("report.html"),
        kind="report",
        title=recording.name,
        footer=KEEP_IT,
        style=page_file(_UPLOT[1]),
        script="\n".join([_uplot(), *map(page_file, _SCRIPTS)]),
        data=shown | about,
    )


def _uplot() -> str:
    """uPlot with its license in place of its first line, which holds an address."""
    _, _, code = page_file(_UPLOT[0]).partition("*/")
    return f"/* uPlot 1.6.32\n\n{page_file('uplot/LICENSE')}*/{code}"


def _linked(recording: Path, page: Path) -> dict[str, Any] | None:
    found = relative_path(recording, page)
    return None if found is None else _media(recording, quote(os.fsencode(found)))


def _embedded(recording: Path) -> dict[str, Any] | None:
    if not recording.is_file():
        return None
    size = recording.stat().st_size
    if size > MOST_EMBEDDED:
        raise OSError(
            f"the recording has {size / 1e6:.0f} MB, and browsers open pages that hold up to "
            f"{MOST_EMBEDDED / 1e6:.0f}: use --format report, which plays it from its file"
        )
    data = b64encode(recording.read_bytes()).decode("ascii")
    return _media(recording, f"data:{_kind(recording)};base64,{data}")


def _media(recording: Path, source: str) -> dict[str, Any]:
    kind = "audio" if _kind(recording).startswith("audio/") else "video"
    return {"name": valid_name(recording), "kind": kind, "source": source}


def _kind(recording: Path) -> str:
    return mimetypes.guess_type(recording.name)[0] or "video/mp4"
