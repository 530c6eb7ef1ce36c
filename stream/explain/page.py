"""`explanation.html`: one file that opens offline, in the look of the report."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from affectstream.stream.explain.draw import AGAINST, FOR, LEAST_SCALE
from affectstream.stream.explain.summary import MODALITY_NAMES
from affectstream.stream.report.html_page import KEEP_IT, html_page, page_file

_PACKAGE = "affectstream.stream.explain"
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
    data = {
        **document,
        "pictures": {
            name: f"data:image/png;base64,{b64encode(data).decode()}"
            for name, data in pictures.items()
        },
        "limits": LIMITS,
        "colors": {"for": _css(FOR), "against": _css(AGAINST), "least": LEAST_SCALE},
    }
    event, bundle = document["event"], document["bundle"]
    track = document["track"]
    who = "the recording itself" if track is None else f"person {track}"
    badges = [f"{bundle['name']} {bundle['version']}"]
    badges += [MODALITY_NAMES[name].capitalize() for name in event["modalities"]]
    return html_page(
        page_file("explanation.html", _PACKAGE),
        kind="explanation",
        title=document["stream"],
        footer=KEEP_IT,
        subtitle=f"{_clock(event['t_start'])} to {_clock(event['t_end'])}, {who}",
        badges=[(badge, False) for badge in badges],
        style=page_file("explanation.css", _PACKAGE),
        script=page_file("bands.js") + page_file("explanation.js", _PACKAGE),
        data=data,
    )


def _clock(t: float) -> str:
    tenths = round(t * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def _css(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
