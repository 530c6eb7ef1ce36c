"""A page as one file that opens offline and fetches nothing: reports, summaries, evaluations, comparisons."""

from __future__ import annotations

import html
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Any

KEEP_IT = (
    "What a face or voice shows is not what a person feels. Show this to nobody whom the people in the "
    "recording have not agreed to."
)
"""The footer of pages about recordings."""

_WARNS = ' class="warn"'
Badge = tuple[str, bool]
"""A text, and whether it is a warning."""


def html_page(
    main: str,
    *,
    kind: str,
    title: str,
    footer: str,
    subtitle: str = "",
    badges: Sequence[Badge] = (),
    style: str = "",
    script: str = "",
    data: Mapping[str, Any] | None = None,
) -> str:
    """A page of this `kind` (such as "report") with `main` (HTML) below its head.

    The page may run this `script` and use this `style` after that of all pages, and nothing else. The script
    finds `data` as JSON in the element of that id, and may fill ``#subtitle`` and ``#badges``.
    """
    style = page_file("report.css") + style
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "img-src data:; media-src 'self' file: data: blob:"
    )
    code = ""
    if script:
        code = (
            '<div id="tip" role="presentation" hidden></div>\n'
            f'<script id="data" type="application/json">{_encoded(data)}</script>\n'
            f"<script>{script}</script>\n"
        )
    marks = "".join(map(_badge, badges))
    shown = html.escape(title)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{shown}: {html.escape(kind)}</title>
<style>{style}</style>
</head>
<body>
<header>
  <div>
    <p class="eyebrow">Affectstream {html.escape(kind)}</p>
    <h1 id="title">{shown}</h1>
    <p id="subtitle">{html.escape(subtitle)}</p>
  </div>
  <ul id="badges">{marks}</ul>
</header>
{main.strip()}
<footer><p>{html.escape(footer)}</p></footer>
{code}</body>
</html>
"""


def page_file(name: str, package: str = "affectstream.stream.report") -> str:
    """A file of the folder `page` of a package; the report's ``report.css`` is the look of all pages."""
    return (files(package) / "page" / name).read_text("utf-8")


def _badge(badge: Badge) -> str:
    text, warns = badge
    return f"<li{_WARNS if warns else ''}>{html.escape(text)}</li>"


def _encoded(data: Mapping[str, Any] | None) -> str:
    """JSON of which no text can end the script element or begin a comment in it."""
    encoded = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        encoded = encoded.replace(character, f"\\u{ord(character):04x}")
    return encoded


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
