"""ELAN files (EAF 3.0), to watch, correct and extend the results beside the recording.

Format: "EAF, the ELAN Annotation Format, version 3.0" (Max Planck Institute for Psycholinguistics).
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from affectstream.stream.annotations.media_link import relative_path
from affectstream.stream.annotations.tiers import Tier, recording_tiers, stated_use
from affectstream.stream.events import AttentionState
from affectstream.stream.results.scored import ScoredRecording

_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_NO_LANGUAGE = {
    "LANG_ID": "und",
    "LANG_DEF": "http://cdb.iso.org/lg/CDB-00130975-001",
    "LANG_LABEL": "undetermined (und)",
}
_DATE = "1970-01-01T00:00:00+00:00"
"""The format demands a date. It is constant, so that two runs write the same bytes."""


def write(recording: ScoredRecording, path: Path) -> None:
    """Write the tiers of `recording` to `path`, with the labels and states to choose from."""
    states = {"emotion": recording.labels, "attention": get_args(AttentionState)}
    media = relative_path(recording.path, path)
    if media is not None and media != media.encode("utf-8", "replace").decode():
        media = None  # XML cannot hold such a name
    path.write_bytes(eaf(recording_tiers(recording), media, states, stated_use(recording)))


def eaf(
    tiers: Sequence[Tier],
    media: str | None = None,
    states: Mapping[str, Sequence[str]] | None = None,
    properties: Mapping[str, str] | None = None,
) -> bytes:
    """The document with these `tiers`.

    `media` is the path of the recording relative to the document, with ``/``. `states` are the values that
    ELAN offers for a kind of tier: the labels of ``emotion``, the states of ``attention``. `properties` stand
    in the header, which ELAN keeps.
    """
    root = Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "Affectstream",
            "DATE": _DATE,
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    header = SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    if media is not None:
        kind, _ = mimetypes.guess_type(media)
        # ELAN takes the relative address where the other does not exist.
        where = {"MEDIA_URL": f"file:///{media.rpartition('/')[2]}"}
        where |= {"MIME_TYPE": kind or "unknown", "RELATIVE_MEDIA_URL": f"./{media}"}
        SubElement(header, "MEDIA_DESCRIPTOR", where)
    times = SubElement(root, "TIME_ORDER")
    for name, value in (properties or {}).items():
        SubElement(header, "PROPERTY", {"NAME": name}).text = _allowed(value)
    last = SubElement(header, "PROPERTY", {"NAME": "lastUsedAnnotationId"})
    last.text = str(_add_tiers(root, times, tiers))
    offered = {kind: values for kind, values in (states or {}).items() if values}
    for kind in dict.fromkeys(tier.kind for tier in tiers):
        about = {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": kind}
        about |= {"TIME_ALIGNABLE": "true"}
        if kind in offered:
            about["CONTROLLED_VOCABULARY_REF"] = kind
        SubElement(root, "LINGUISTIC_TYPE", about)
    if offered:
        SubElement(root, "LANGUAGE", _NO_LANGUAGE)
    for kind, values in offered.items():
        _add_vocabulary(root, kind, values)
    ElementTree.indent(root, "    ")
    text: bytes = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return text + b"\n"


def _add_tiers(root: Element, times: Element, tiers: Sequence[Tier]) -> int:
    """Add every tier with its annotations and times; returns the number of annotations."""
    count = slots = 0
    for tier in tiers:
        about = {"LINGUISTIC_TYPE_REF": tier.kind, "PARTICIPANT": tier.person}
        element = SubElement(root, "TIER", {**about, "TIER_ID": tier.name})
        for annotation in tier.annotations:
            count += 1
            refs = []
            for t_s in (annotation.start_s, annotation.end_s):
                slots += 1
                refs.append(f"ts{slots}")
                slot = {"TIME_SLOT_ID": refs[-1], "TIME_VALUE": str(round(t_s * 1000))}
                SubElement(times, "TIME_SLOT", slot)
            about = {"ANNOTATION_ID": f"a{count}"}
            about |= {"TIME_SLOT_REF1": refs[0], "TIME_SLOT_REF2": refs[1]}
            holder = SubElement(SubElement(element, "ANNOTATION"), "ALIGNABLE_ANNOTATION", about)
            SubElement(holder, "ANNOTATION_VALUE").text = _allowed(annotation.text)
    return count


def _add_vocabulary(root: Element, kind: str, values: Sequence[str]) -> None:
    vocabulary = SubElement(root, "CONTROLLED_VOCABULARY", {"CV_ID": kind})
    SubElement(vocabulary, "DESCRIPTION", {"LANG_REF": "und"})
    for number, value in enumerate(values, 1):
        entry = SubElement(vocabulary, "CV_ENTRY_ML", {"CVE_ID": f"{kind}-{number}"})
        meaning = {"DESCRIPTION": "", "LANG_REF": "und"}
        SubElement(entry, "CVE_VALUE", meaning).text = value


def _allowed(text: str) -> str:
    """`text` without the control characters that XML cannot hold."""
    return "".join(c for c in text if c >= " " or c in "\t\n\r")
