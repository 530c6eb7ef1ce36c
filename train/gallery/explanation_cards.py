"""The cards of explanations, from their files."""

from __future__ import annotations

from pathlib import Path

import msgspec

from affectstream.stream.explain.summary import MODALITY_NAMES
from affectstream.train.gallery.card import Card, share_of
from affectstream.train.gallery.files import (
    ClipExplanation,
    EventExplanation,
    ExplanationFile,
    NetworkExplanation,
)
from affectstream.train.pages import thumbnails


def explanation(path: Path) -> Card:
    """``explanation.json`` of one result, of a stretch, or of a network."""
    found = msgspec.json.decode(path.read_bytes(), type=ExplanationFile)
    if isinstance(found, EventExplanation):
        return _of_event(found)
    return _of_clip(found) if isinstance(found, ClipExplanation) else _of_network(found)


def _of_event(found: EventExplanation) -> Card:
    event, explained = found.event, found.explained
    who = "the recording" if found.track is None else f"person {found.track}"
    rows = [(MODALITY_NAMES.get(m.modality, m.modality), m.change) for m in found.modalities]
    known = [(name, change) for name, change in rows if change is not None]
    notes = []
    if not known:  # a single modality cannot be hidden, but parts of a face can
        regions = next((face.regions for face in found.face if face.regions), {})
        known = list(regions.items())
        notes += [f"{name} alone was used" for name, _ in rows]
    return Card(
        "explanation",
        found.stream,
        f"{event.t_start:g} to {event.t_end:g} s, {who}",
        f"{explained.name} {share_of(explained.value)}",
        "" if event.label else f"no label: {(event.abstain or '').replace('_', ' ')}",
        explained.value,
        None,
        thumbnails.changes(f"{explained.name} falls by so much without", known),
        tuple(notes),
    )


def _of_clip(found: ClipExplanation) -> Card:
    hops = found.hops
    lines = [(h.event.t_start, h.explained.value) for h in hops if h.explained.value is not None]
    return Card(
        "explanation",
        found.stream,
        f"{hops[0].event.t_start:g} to {hops[-1].event.t_end:g} s, {len(hops)} results",
        ", ".join(dict.fromkeys(hop.explained.name for hop in hops)),
        "",
        None,
        None,
        thumbnails.lines("The explained score by seconds", [("", lines)]),
    )


def _of_network(found: NetworkExplanation) -> Card:
    truth = "" if found.label is None else f"; labeled {found.label}"
    checks = [
        f"{one.part}: {one.correlation:.2f} like the map of random weights" for one in found.sanity
    ]
    tokens = sorted(found.tokens, key=lambda one: -abs(one.without))
    return Card(
        "explanation",
        f"{found.recipe}: {found.sample}",
        f"from inside the network{truth}",
        f"{found.explained.name} {share_of(found.explained.probability)}",
        "",
        found.explained.probability,
        None,
        thumbnails.changes("It falls by so much without", [(t.token, t.without) for t in tokens]),
        tuple(checks),
    )
