"""`explanation.html`: one file that opens offline, in the look of the report."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from affectstream.stream.explain.draw import AGAINST, FOR, LEAST_SCALE
from affectstream.stream.report.html_page import html_page, page_file

LIMITS = (
    "This shows what the recognizer used, not what a person feels, and not whether the label is right. A "
    "wrong label can have a clear map.",
    "Each number answers one question: how would the score change if this part had been hidden? The "
    "recognizer never learned from hidden parts, so a small change can come from the gray patch, the "
    "silence or the broken sentence itself.",
    "Parts that say the same do not show: if the mouth alone suffices for a smile, hiding the eyes changes "
    "nothing, although they would suffice too. The changes of parts do not add up to the score.",
    "Compare colors within one picture only: each has its own scale, which stands beside it.",
)


def explanation_page(document: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """The page of an explanation. `pictures` are its PNG files by name."""
    own = files("affectstream.stream.explain") / "page"
    data = {
        **document,
        "pictures": {
            name: f"data:image/png;base64,{b64encode(data).decode()}"
            for name, data in pictures.items()
        },
        "limits": LIMITS,
        "colors": {"for": _css(FOR), "against": _css(AGAINST), "least": LEAST_SCALE},
    }
    return html_page(
        (own / "explanation.html").read_text("utf-8"),
        title=f"{document['stream']}: explanation",
        style=page_file("report.css") + (own / "explanation.css").read_text("utf-8"),
        script=page_file("bands.js") + (own / "explanation.js").read_text("utf-8"),
        data=data,
    )


def _css(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
