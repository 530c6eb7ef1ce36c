"""How a report was made, and what it does not say: rows of text for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from affectstream.stream.results.origin import STATED_USE
from affectstream.stream.results.scored import ScoredRecording

_ATTENTION = {
    "gaze": (
        "Attention is where head and eyes point in relation to the camera, and whether the eyes are open. "
        "It is not what a person thinks of; a screen or a partner beside the camera can look like away."
    ),
    "head_pose": (
        "Attention is where the head points in relation to the camera, whatever the eyes do. It is not what "
        "a person thinks of."
    ),
    "model": "Attention is the prediction of the bundle, not what a person thinks of.",
}

_ASSIGNED = {
    "only_track": "that of the only person in view",
    "mouth": "that of the person whose mouth moves with it",
    "option": "as --speaker says",
    "channel": "by channel",
    "transcript": "as the transcript says",
}


def made(recording: ScoredRecording, shown: Mapping[str, Any]) -> dict[str, str]:
    """What was used, by name."""
    run, bundle = recording.run, recording.bundle
    versions = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    options = ", ".join(
        _option(name, value) for name, value in run["options"].items() if name not in STATED_USE
    )
    rows = {
        "Recording": recording.name,
        "Recognizer": f"{bundle['name']} {bundle['version']}, manifest {bundle['manifest_sha256'][:16]}…",
        "Labels": ", ".join(recording.labels),
        "Attention": _words(shown["method"]) if shown["method"] else None,
        "Valence and arousal": _affect(shown),
        "A voice is": "; ".join(_ASSIGNED.get(one, one) for one in shown["assigned"]),
        "Options": options or "defaults",
        "Purpose": run.get("purpose"),
        "Consent": run.get("consent"),
        "Ran on": run["device"],
        "Versions": f"{versions}, Python {run['python']}, events {run['schema']}",
    }
    return {name: str(text) for name, text in rows.items() if text}


def _affect(shown: Mapping[str, Any]) -> str | None:
    if not any("valence" in person["series"] for person in shown["people"]):
        return None
    return "computed from the scores of the labels" if shown["derived"] else "predicted"


def limits(shown: Mapping[str, Any]) -> list[str]:
    """What a reader has to know before believing a number."""
    rows = [
        "A score is a network's reading of how a face, a voice or words appear. It is not knowledge of what "
        "a person feels: people smile when they are sad, and keep a straight face when they are glad.",
        "Hatched stretches have no label, because too little was seen or heard, or the modalities contradict "
        "each other. They are missing, which is not the same as neutral.",
        "Confidence is how often such readings were right in the data that the recognizer was checked with. "
        "Other people, cameras and languages can differ: look at the recording before you rely on a number.",
    ]
    if shown["derived"]:
        rows.append(
            "Valence and arousal are computed from the scores of the emotions, not measured by themselves."
        )
    if shown["method"] in _ATTENTION:
        rows.append(_ATTENTION[shown["method"]])
    if {"only_track", "mouth"} & set(shown["assigned"]):
        rows.append(
            "Who speaks is inferred: from whose mouth moves with the voice, or from nobody else being in "
            "view. Somebody who is not in the picture may have spoken."
        )
    if sum(person["track"] is not None for person in shown["people"]) > 1:
        rows.append(
            "Numbers tell people apart within this recording. They identify nobody, and one person may get a "
            "second number after a cut or a while out of view."
        )
    rows.append(
        "In the European Union, inferring emotions of people at work or in education is prohibited, save for "
        "medical and safety reasons (AI Act, article 5(1)(f)); recruitment counts as work."
    )
    return rows


def _words(name: str) -> str:
    return name.replace("_", " ")


def _option(name: str, value: Any) -> str:
    """Such as ``start: 60 s``."""
    if name.endswith("_s"):
        return f"{_words(name.removesuffix('_s'))}: {value:g} s"
    return f"{_words(name)}: {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name}={one}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return "+".join(map(str, value))
    return str(value)
