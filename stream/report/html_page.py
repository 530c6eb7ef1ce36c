"""A page as one file that opens offline and fetches nothing: reports, summaries, evaluations, comparisons."""

from __future__ import annotations

import html
import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Any


def html_page(
    body: str,
    *,
    title: str,
    style: str,
    script: str = "",
    data: Mapping[str, Any] | None = None,
) -> str:
    """`body`, in which ``{{title}}`` stands for the title, as a page.

    The page may run this `script` and use this `style`, and nothing else. The script finds `data` as JSON in
    the element of that id.
    """
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "img-src data:; media-src 'self' file: data: blob:"
    )
    shown = html.escape(title)
    code = ""
    if script:
        code = (
            '<div id="tip" role="presentation" hidden></div>\n'
            f'<script id="data" type="application/json">{_encoded(data)}</script>\n'
            f"<script>{script}</script>\n"
        )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{shown}</title>
<style>{style}</style>
</head>
<body>
{body.replace("{{title}}", shown)}{code}</body>
</html>
"""


def page_file(name: str) -> str:
    """A file of the report's page; ``report.css`` is the look of all pages."""
    return (files("affectstream.stream.report") / "page" / name).read_text("utf-8")


def _encoded(data: Mapping[str, Any] | None) -> str:
    """JSON of which no text can end the script element or begin a comment in it."""
    encoded = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        encoded = encoded.replace(character, f"\\u{ord(character):04x}")
    return encoded


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
