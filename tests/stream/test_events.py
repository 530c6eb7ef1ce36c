import json
from pathlib import Path

import jsonschema
import pytest

from affectstream.stream.events import (
    SCHEMA,
    Attention,
    Emotion,
    Segment,
    Stream,
    encode,
    json_schema,
    parse_event,
)

FIXTURES = Path(__file__).parents[1] / "fixtures"
COMMON = {"stream": "a.mp4", "track": 1, "t_start": 0.5, "t_end": 1.0, "modalities": ("video",)}
EVENTS = [
    Emotion(
        **COMMON,
        label="joy",
        confidence=0.7,
        scores={"joy": 0.7, "neutral": 0.3},
        abstain=None,
        assigned_by=None,
    ),
    Emotion(
        **{**COMMON, "modalities": ()},
        label=None,
        confidence=None,
        scores=None,
        abstain="no_face",
        assigned_by=None,
    ),
    Emotion(
        **{**COMMON, "track": None, "modalities": ("voice", "text")},
        label=None,
        confidence=0.4,
        scores={"joy": 0.4, "anger": 0.35, "neutral": 0.25},
        abstain="conflict",
        assigned_by="mouth",
        speaker="A",
        valence=0.1,
        arousal=-0.2,
        derived=True,
    ),
    Attention(
        **COMMON, state="away", score=0.1, yaw=40.0, pitch=0.0, roll=-3.0, method="head_pose"
    ),
    Segment(**COMMON, of="emotion", state="joy", mean=0.6, peak=0.9),
    Stream(
        stream="a.mp4",
        t_start=0.0,
        t_end=9.0,
        modalities=(),
        what="ended",
        complete=True,
        counts={"frames": 7},
    ),
    Emotion(
        **COMMON,
        label="joy",
        confidence=0.7,
        scores={"joy": 0.7},
        abstain=None,
        assigned_by="only_track",
        emitted_at="2026-11-21T06:30:00.123Z",
        age_ms=80.0,
        latency_ms=31.5,
    ),
]


SEGMENT = next(event for event in EVENTS if event.type == "segment")


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: e.type)
def test_a_line_is_read_back_unchanged_and_fits_the_schema(event):
    line = encode(event)
    assert b"\n" not in line
    assert parse_event(line) == event
    jsonschema.validate(json.loads(line), json_schema())


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: e.type)
def test_schema_and_type_come_first(event):
    assert list(json.loads(encode(event)))[:2] == ["schema", "type"]


def test_live_fields_are_absent_from_files():
    assert b"emitted_at" not in encode(EVENTS[0])


def test_the_schema_forbids_unknown_fields_and_bounds_every_number():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)

    def numbers(node):
        if isinstance(node, dict):
            if node.get("type") in ("number", "integer"):
                yield node
            for value in node.values():
                yield from numbers(value)
        elif isinstance(node, list):
            for value in node:
                yield from numbers(value)

    found = list(numbers(schema))
    assert found
    assert all("minimum" in n and "maximum" in n for n in found)
    for kind in schema["$defs"].values():
        assert kind["additionalProperties"] is False


def test_another_major_version_is_refused_and_a_minor_one_read():
    line = encode(EVENTS[0]).decode()
    assert parse_event(line.replace(f'"schema":"{SCHEMA}"', '"schema":"1.7"'))
    with pytest.raises(ValueError, match=r"2\.0 cannot be read"):
        parse_event(line.replace(f'"schema":"{SCHEMA}"', '"schema":"2.0"'))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not an event"),
        ('{"schema":"1.0","type":"smell"}', "'smell' is not one of"),
        (encode(SEGMENT).replace(b'"mean":0.6', b'"mean":1.6').decode(), "not an event"),
        (encode(SEGMENT).replace(b'"of":', b'"what":1,"of":').decode(), "not an event"),
    ],
)
def test_a_line_that_is_no_event_is_refused(line, message):
    with pytest.raises(ValueError, match=message):
        parse_event(line)


def without_names(schema):
    """Newer versions of msgspec list the keys of a mapping; older ones, and the published file, do not."""
    if isinstance(schema, dict):
        return {k: without_names(v) for k, v in schema.items() if k != "propertyNames"}
    return [without_names(v) for v in schema] if isinstance(schema, list) else schema


def test_the_schema_is_the_published_one():
    """Readers rely on it: a change needs a new `SCHEMA`, and a new file of that name."""
    published = FIXTURES / f"event_schema_{SCHEMA.replace('.', '_')}.json"
    assert without_names(json_schema()) == json.loads(published.read_text())


def test_lines_of_an_older_schema_are_read():
    lines = (FIXTURES / "events_1_0.jsonl").read_text().splitlines()
    events = [parse_event(line) for line in lines]
    assert {event.type for event in events} == {"stream", "emotion", "attention", "segment"}
    (emotion,) = (event for event in events if event.type == "emotion")
    assert (emotion.label, emotion.confidence) == ("joy", 0.9242)
    assert (emotion.sentiment, emotion.intensity, emotion.intensities) == (None, None, None)
    assert (emotion.arousal, emotion.derived, emotion.speaker) == (None, None, None)
