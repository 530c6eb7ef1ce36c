"""Finds results in a folder, and writes the page about them."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from urllib.parse import quote

import cv2

from affectstream.stream.errors import OptionError
from affectstream.stream.report.html_page import html_page, page_file
from affectstream.stream.sinks.base import writing
from affectstream.train.errors import DataError, RunError
from affectstream.train.gallery.card import Card
from affectstream.train.gallery.cards import PAGES, PICTURES, READERS, read_card
from affectstream.train.pages.elements import SCORES_ARE, Html, hint, items, write_page
from affectstream.train.pages.elements import card as section

PAGE = "gallery.html"
_PACKAGE = "affectstream.train.gallery"
_WHOLE = "folds.json", "curve.json", "reproduce.json"
"""Files of studies. The trainings in their folders are parts of them, not results of their own."""
_KINDS = (
    *("comparison", "evaluation", "reproduction", "cross-validation"),
    *("learning curve", "training", "agreement", "explanation"),
)
_SORTED_BY = (
    ("", "kind"),
    ("name", "name"),
    ("value", "figure, highest first"),
    ("samples", "samples, most first"),
    ("time", "newest first"),
)
_FOOTER = (
    f"{SCORES_ARE} Figures of different data sets or splits cannot be compared; "
    "'affectstream train compare' compares on the same samples."
)
_THUMBNAIL = 360


@dataclass(frozen=True, slots=True)
class Found:
    """A result with its place, or why it could not be read."""

    path: Path
    """The file of results."""
    card: Card | None
    error: str = ""


def find_results(folder: Path) -> list[Found]:
    """All results in `folder`, by path; damaged ones with the reason.

    Raises `OptionError` if there is no such folder, `RunError` if it holds no result.
    """
    if not folder.is_dir():
        raise OptionError(
            f"{folder}: no such folder: expected one with evaluations, comparisons or runs"
        )
    found = []
    for path in _paths(folder):
        try:
            card = read_card(path)
            if card is not None:
                found.append(Found(path, card))
        except (DataError, RunError) as error:
            found.append(Found(path, None, str(error)))
    if not found:
        raise RunError(
            f"{folder} holds no results: expected {', '.join(READERS)} in it or in its subfolders, as "
            "'agree', 'train evaluate', 'compare', 'curve', 'folds', 'fit', 'reproduce' and 'explain' write"
        )
    return found


def _paths(folder: Path) -> Iterator[Path]:
    """Files of results in `folder` and below, in order; links to folders are not followed."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        if any(name in names for name in _WHOLE):
            folders[:] = []
        yield from (Path(place, name) for name in READERS if name in names)


def write_gallery(found: Sequence[Found], folder: Path, page: Path, *, media: bool = False) -> None:
    """Write the page about `found` in `folder`; `media` shows pictures of explanations, which are personal
    data. Raises `OutputError` where the disk refuses."""
    shown = [one for one in found if one.card is not None]
    shown.sort(key=lambda one: (_place(one), str(one.path)))
    cards = "\n".join(_card(one, folder, page, media=media) for one in shown)
    kinds = [kind for kind in _KINDS if any(one.card and one.card.kind == kind for one in shown)]
    parts = _controls(kinds), f'<div id="cards">\n{cards}\n</div>', _damaged(found, folder)
    damaged = len(found) - len(shown)
    counts = [(sum(one.card is not None and one.card.kind == k for one in shown), k) for k in kinds]
    content = html_page(
        "<main>\n{}\n{}\n{}</main>".format(*parts),
        kind="gallery",
        title=folder.absolute().name,
        footer=_FOOTER,
        subtitle=" · ".join(f"{count} {kind}{'s' * (count > 1)}" for count, kind in counts),
        badges=[(f"{damaged} not readable", True)] if damaged else [],
        style=page_file("gallery.css", _PACKAGE),
        script=page_file("gallery.js", _PACKAGE),
    )
    with writing(page):
        page.parent.mkdir(parents=True, exist_ok=True)
    write_page(content, page)


def _place(one: Found) -> int:
    assert one.card is not None
    return _KINDS.index(one.card.kind)


def _controls(kinds: Sequence[str]) -> str:
    buttons = "".join(
        f'<button type="button" aria-pressed="{"false" if kind else "true"}" data-kind="{kind}">'
        f"{kind or 'all'}</button>"
        for kind in ("", *kinds)
    )
    options = "".join(f'<option value="{key}">{name}</option>' for key, name in _SORTED_BY)
    return f"""<div id="controls" class="card wide">
  <div class="group" id="kinds">{buttons}</div>
  <label>Sort by <select id="sort">{options}</select></label>
  <label>Find <input id="find" type="search" placeholder="name, data, folder"></label>
  <p id="none" class="hint" hidden>Nothing fits.</p>
</div>"""


def _card(one: Found, folder: Path, page: Path, *, media: bool) -> str:
    card = one.card
    assert card is not None
    time = int(one.path.stat().st_mtime)
    place = one.path.parent.relative_to(folder).as_posix()
    picture = _picture(one.path.parent) if media and card.kind == "explanation" else None
    picture = picture or card.picture
    facts = {
        "kind": card.kind,
        "name": card.title,
        "value": "" if card.value is None else f"{card.value:.6f}",
        "samples": "" if card.samples is None else str(card.samples),
        "time": str(time),
    }
    data = " ".join(f'data-{name}="{escape(value)}"' for name, value in facts.items())
    small = [place, *([f"{card.samples} samples"] if card.samples else [])]
    small.append(f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d}")
    facts_line = " · ".join(f"<span>{escape(one)}</span>" for one in small)
    notes = "".join(f"<li>{escape(note)}</li>" for note in card.notes)
    return f"""<article class="card result" {data}>
  <p class="eyebrow">{card.kind}</p>
  <h2><a href="{escape(_address(one.path, page))}">{escape(card.title)}</a></h2>
  <p class="about">{escape(card.about)}</p>
  <p class="figure"><strong>{escape(card.headline)}</strong> <span>{escape(card.interval)}</span></p>
  {f'<div class="picture">{picture.text}</div>' if picture else ""}
  {f'<ul class="notes">{notes}</ul>' if notes else ""}<p class="place">{facts_line}</p>
</article>"""


def _picture(folder: Path) -> Html | None:
    """A small copy of the picture of an explanation."""
    for path in (folder / name for name in PICTURES if (folder / name).is_file()):
        image = cv2.imread(str(path))
        if image is None:
            continue
        scale = min(1.0, _THUMBNAIL / image.shape[1])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        data = b64encode(cv2.imencode(".jpg", small)[1].tobytes()).decode()
        return Html(f'<img alt="What mattered, in color" src="data:image/jpeg;base64,{data}">')
    return None


def _address(results: Path, page: Path) -> str:
    """From the page to the best page about these results."""
    pages = (results.parent / name for name in PAGES)
    target = next((path for path in pages if path.is_file()), results)
    # As bytes: a name need not be UTF-8.
    return quote(os.fsencode(Path(os.path.relpath(target, page.parent)).as_posix()))


def _damaged(found: Sequence[Found], folder: Path) -> str:
    lines = [f"{one.path.relative_to(folder)}: {one.error}" for one in found if one.card is None]
    return (
        section("Not readable", items(lines), hint("All others are above.")).text if lines else ""
    )
