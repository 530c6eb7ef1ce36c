"""`explanation.html` of `train explain`, in the look of all pages."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

from affectstream.stream.report.html_page import KEEP_IT
from affectstream.train.explain.draw import FULL_COLOR
from affectstream.train.explain.sanity import ALIKE, DRAWS
from affectstream.train.pages import charts
from affectstream.train.pages.charts import Bar
from affectstream.train.pages.elements import (
    Cell,
    Html,
    card,
    hint,
    items,
    page,
    table,
    terms,
    verdict,
)
from affectstream.train.pages.elements import charts as side_by_side

LIMITS = (
    "This shows what the network used, not what a person feels, and not whether the label is right. A wrong "
    "label can have a clear map.",
    "Attention says where a network looks, not what it concludes from it. 'affectstream explain' hides parts "
    "and computes the score again, which answers that.",
    "Gradients hold for small changes of this one input. Parts that say the same do not show.",
    "Compare colors within one picture only: each has its own scale.",
)
_SIGNED = "Orange speaks for {name}, blue against it; the stronger the color, the more."
_EVEN = (
    "Orange: more than an even share, blue: less. That is no sign: a patch with much attention can speak for "
    "the label or against it."
)
_TITLES = {
    "grad_cam": "Where in the face: Grad-CAM",
    "attention_rollout": "Where in the face: attention through all layers",
    "attention_heads": "Attention of each layer and head",
    "regions": "The network's own attention to regions of the face",
    "voice": "What in the voice",
}


def network_page(document: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """The page of an explanation. `pictures` are its PNG files by name."""
    explained, label = document["explained"], document["label"]
    share = explained["probability"]
    cards = [_what(document)]
    cards += [_picture_card(name, document, pictures[name]) for name in _TITLES if name in pictures]
    if "tokens" in document:
        cards.append(_token_card(explained["name"], document["tokens"]))
    cards += [_sanity_card(document.get("sanity", ())), _limits(document)]
    badges = [] if label is None else [(f"labeled {label}", label != explained["name"])]
    predicted = explained["name"] if share is None else f"{explained['name']} {share:.0%}"
    return page(
        "explanation",
        document["sample"],
        f"{document['recipe']}: {predicted}",
        badges,
        cards,
        KEEP_IT,
    )


def _what(document: Mapping[str, Any]) -> Html:
    explained, label = document["explained"], document["label"]
    name, share = explained["name"], explained["probability"]
    sentence = f"{document['recipe']} predicts {name}" + (
        "" if share is None else f" with {share:.1%}"
    )
    if label is not None:
        sentence += ", as the label does" if label == name else f"; the label is {label}"
    remark = (
        f"What follows shows which parts of this one sample move the network's output for {name}. The "
        "probability is that of the network, before calibration."
    )
    return card("What is explained", verdict(f"{sentence}."), hint(remark))


def _picture_card(name: str, document: Mapping[str, Any], png: bytes) -> Html:
    title = _TITLES[name]
    shown = Html(
        f'<img class="map" alt="{title}" src="data:image/png;base64,{b64encode(png).decode()}">'
    )
    parts = [side_by_side(shown, hint(_meaning(name, document)))]
    if name == "attention_heads":
        rows: list[Sequence[Cell]] = [
            (
                str(one["layer"]),
                str(one["heads"]),
                "-" if one["diversity"] is None else f"{one['diversity']:.2f}",
                ", ".join(f"{value:.2f}" for value in one["spread"]),
            )
            for one in document["attention"]
        ]
        parts.insert(
            1, table(("layer", "heads", "heads differ by, bit", "spread of each head"), rows)
        )
    return card(title, *parts)


def _meaning(name: str, document: Mapping[str, Any]) -> str:
    """What the map `name` means, in words."""
    signed = _SIGNED.format(name=document["explained"]["name"])
    if name == "grad_cam":
        _, height, width = document["grad_cam"]["shape"]
        return (
            f"{signed} Frames from left to right, the newest last. The map has {height} x {width} fields, "
            "enlarged smoothly, so its edges are not exact: it is the last map that the network computes "
            f"({document['grad_cam']['layer']}), weighted by gradients."
        )
    if name == "attention_rollout":
        found = document["rollout"]
        return (
            "How much of each patch reaches the class token through all layers; half of each layer is the "
            f"token itself. {_EVEN} Patches have from {found['smallest']:.2f} to {found['largest']:.2f} even "
            "shares."
        )
    if name == "attention_heads":
        return (
            "What the class token takes from each patch of the newest frame: a row of squares for each "
            f"layer, a square for each head, each with its own scale. {_EVEN} Heads differ by 0 "
            "bit if all look alike, by 1 if no two share a patch; spread is 1 for a head that looks "
            "everywhere alike, 0 at a single patch."
        )
    if name == "regions":
        found = document["regions"]
        return (
            f"The weight that the network itself gives each region; the largest is {found['largest']:.3f}, "
            f"and {found['even']:.3f} would be even. {_EVEN}"
        )
    if document["voice"]["layer"] == "mel":
        return (
            f"{signed} The strongest {FULL_COLOR} % have the full color. Time from left to right, low "
            "frequencies at the bottom; gray is the level. Compared with a steady sound of the same mean "
            f"spectrum: the values of all fields add up to the difference of {document['voice']['sum']:+.2f} "
            "in the output."
        )
    return f"{signed} How far the output falls without each stretch of 100 ms."


def _token_card(name: str, tokens: Sequence[Mapping[str, Any]]) -> Html:
    shown: list[Html] = []
    for title, key in (("Without the token", "without"), ("Integrated gradients", "gradients")):
        bars = [
            Bar(f"{number}. {one['token']}", one[key], nan, nan, series=len(shown))
            for number, one in enumerate(tokens, 1)
            if one[key] is not None
        ]
        shown += [charts.interval_bars(title, bars, zero=True)] if bars else []
    remark = (
        f"How far the output for {name} falls if a token is masked, and the integrated gradients of its "
        "embedding: to the right of 0 it speaks for the label, to the left against it."
    )
    return card("What in the words", side_by_side(*shown), hint(remark))


def _sanity_card(found: Sequence[Mapping[str, Any]]) -> Html:
    remark = (
        f"Adebayo et al., 2018: the same map of {DRAWS} networks with random weights, by mean absolute rank "
        f"correlation. From {ALIKE:g} on, the map hardly depends on what was learned: it shows the input, "
        "such as the outline of a face, more than the network."
    )
    if not found:
        return card(
            "Sanity check: do random weights change the map?",
            verdict("Not checked: no map is large enough, or none differs from place to place."),
            hint(remark),
        )
    same = [one["part"].replace("_", " ") for one in found if one["correlation"] >= ALIKE]
    sentence = (
        f"Not passed by {', '.join(same)}: read it with care."
        if same
        else "Passed: with random weights the maps are other ones."
    )
    rows = [
        (
            one["part"].replace("_", " "),
            f"{one['correlation']:.2f}",
            "no" if one["correlation"] >= ALIKE else "yes",
        )
        for one in found
    ]
    return card(
        "Sanity check: do random weights change the map?",
        verdict(sentence),
        table(("map", "correlation", "depends on learning"), rows),
        hint(remark),
    )


def _limits(document: Mapping[str, Any]) -> Html:
    pairs: list[tuple[str, Cell]] = [
        ("network", document["recipe"]),
        ("sample", document["sample"]),
        ("output", document["explained"]["name"]),
        ("all numbers", "explanation.json"),
    ]
    return card("What this does not say", items(LIMITS), terms(pairs))
