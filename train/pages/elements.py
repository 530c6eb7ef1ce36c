"""Parts of a page as HTML. Text is escaped here, so callers pass it as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from affectstream.stream.report.html_page import Badge, html_page
from affectstream.train.files import write_atomically

ROUGH = 10
"""Intervals by fewer people are rough."""
WRAPPED = 40
"""Letters from which on the text of a cell is wrapped."""
SCORES_ARE = "A score is a network's reading of expressions, not knowledge of what a person feels."
"""Begins the foot of every page with figures."""


@dataclass(frozen=True, slots=True)
class Html:
    """Text that is HTML already."""

    text: str


Cell = str | Html


def text(cell: Cell) -> str:
    """A cell as HTML."""
    return cell.text if isinstance(cell, Html) else escape(cell)


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]], *, mark: Sequence[int] = ()) -> Html:
    """A table; the rows with the numbers in `mark` stand out."""
    lines = []
    for number, row in enumerate(rows):
        kind = ' class="current"' if number in mark else ""
        lines.append(f"<tr{kind}>{''.join(map(_cell, row))}</tr>")
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    return Html(
        f'<div class="scroll tall"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    wraps = isinstance(cell, str) and len(cell) > WRAPPED
    return f'<td class="text">{text(cell)}</td>' if wraps else f"<td>{text(cell)}</td>"


def items(lines: Iterable[Cell]) -> Html:
    """A list."""
    return Html(f'<ul class="list">{"".join(f"<li>{text(line)}</li>" for line in lines)}</ul>')


def terms(pairs: Iterable[tuple[str, Cell]]) -> Html:
    """Names and what they stand for."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{text(value)}</dd>" for name, value in pairs)
    return Html(f'<dl class="made">{rows}</dl>')


def verdict(line: str) -> Html:
    """The sentence that a reader came for."""
    return Html(f'<p class="verdict">{escape(line)}</p>')


def few_people(participants: Sequence[object]) -> list[Badge]:
    """A badge that warns of intervals by few people; none if they are many or not known."""
    people = {name for name in participants if name is not None}
    rough = 1 < len(people) < ROUGH and None not in participants
    return [(f"only {len(people)} people: intervals are rough", True)] if rough else []


def hint(line: str) -> Html:
    """A remark in small print."""
    return Html(f'<p class="hint">{escape(line)}</p>')


def charts(*parts: Html) -> Html:
    """Charts side by side."""
    return Html(f'<div class="charts">{"".join(part.text for part in parts)}</div>')


def figure(title: str, drawn: Html) -> Html:
    """A drawing below its title, as a chart has it."""
    return Html(
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>{drawn.text}</figure>'
    )


def folded(title: str, *parts: Html) -> Html:
    """Parts that are shown when the reader asks for them."""
    inside = "\n".join(part.text for part in parts)
    return Html(f'<details class="more"><summary>{escape(title)}</summary>\n{inside}\n</details>')


def card(title: str, *parts: Html) -> Html:
    """A section of the page."""
    inside = "\n".join(part.text for part in parts)
    return Html(f'<section class="card wide">\n<h2>{escape(title)}</h2>\n{inside}\n</section>')


def page(
    kind: str,
    title: str,
    subtitle: str,
    badges: Sequence[Badge],
    cards: Sequence[Html],
    footer: str,
) -> str:
    """The page."""
    main = f"<main>\n{chr(10).join(part.text for part in cards)}\n</main>"
    style = (files("affectstream.train.pages") / "pages.css").read_text("utf-8")
    return html_page(
        main,
        kind=kind,
        title=title,
        footer=footer,
        subtitle=subtitle,
        badges=badges,
        style=style,
    )


def write_page(content: str, path: Path) -> None:
    """Write a page. Raises `OutputError` where the disk refuses."""
    write_atomically(path, content.encode(errors="replace"))  # a file's name need not be UTF-8
