"""iMotions exports as its versions write them, for tests: columns and preambles after real files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

EMOTIONS = ("Anger", "Contempt", "Disgust", "Fear", "Joy", "Sadness", "Surprise")
Row = tuple[float, dict[str, float] | None]
"""Milliseconds, and what AFFDEX says of the face (None: it sees none) in per cent by column."""

OLD_COLUMNS = (
    *("StudyName", "ExportDate", "Name", "Age", "Gender", "StimulusName", "SlideType"),
    *("EventSource", "Timestamp", "MediaTime", "PostMarker", "Annotation", "GSR", "Siemens"),
    *("Number of faces", *EMOTIONS, "Engagement", "Valence", "Attention", "Smile"),
    *("Yaw", "Pitch", "Roll", "LiveMarker"),
)
NEW_COLUMNS = (
    *("Row", "Timestamp", "EventSource", "SlideEvent", "StimType", "Duration", "CollectionPhase"),
    *("SourceStimuliName", "EventSource", "SampleNumber", *EMOTIONS, "Engagement", "Valence"),
    *("Sentimentality", "Confusion", "Neutral", "Attention", "Brow Furrow", "Smile"),
    *("Pitch", "Yaw", "Roll", "Interocular Distance", "EventSource", "SampleNumber"),
    *("GSR RAW", "GSR Conductance CAL", "Respondent Annotations active"),
)


def old_export(
    path: Path,
    rows: Sequence[Row],
    *,
    name: str = "P01",
    comma: bool = False,
    sensors: bool = True,
    encoding: str = "utf-8",
) -> Path:
    """Version 6 or 7: tabs, ``#`` lines; between two rows of AFFDEX one of the skin sensor, in which
    AFFDEX's values are repeated. Without `sensors` there is no column that tells them apart."""
    columns = [c for c in OLD_COLUMNS if sensors or c != "EventSource"]
    lines = [
        "#Study : Entretien d'été",
        "#Date : 20190612 11:12:32",
        "#Version : 7.1.9.1",
        "",
        "\t".join(columns),
    ]
    for time_ms, face in rows:
        shared = {"StudyName": "Entretien d'été", "Name": name, "Age": 29, "Gender": "FEMALE"}
        shared |= {"StimulusName": "interview", "SlideType": "Video", "Siemens": 0.5}
        shared |= {"Number of faces": 1, **face} if face is not None else {"Number of faces": 0}
        for late, source in ((0, "AffRaw|ET"), (7, "Shimmer")):
            clock = {"Timestamp": time_ms + 5000 + late, "MediaTime": time_ms + late}
            lines.append(_line(columns, {**shared, **clock, "EventSource": source}, "\t", comma))
    path.write_bytes("\r\n".join([*lines, ""]).encode(encoding))
    return path


def new_export(
    path: Path, rows: Sequence[Row], *, name: str = "R3", stimuli: Sequence[str] = ("interview",)
) -> Path:
    """Version 8 and later: commas, blocks, and cells of a sensor filled only in its own rows. The
    rows are cut into as many parts as there are `stimuli`; Timestamp runs through."""
    preamble = [
        ("#INFO",),
        ("#Study name", "GENEX"),
        ("#Respondent Name", name, "cb03c3a1-9e33-4a55-8b10-a0e12a0a4b10"),
        ("#Respondent Age", "0"),
        ("#Respondent Gender", "MALE"),
        ("#Respondent Group", "Default"),
        ("#Recording time", "Date: 12/05/2025", "Time: 22:20:22.911 +00:00"),
        ("#Sensor info", "Affectiva AFFDEX", "Manufacturer: Affectiva"),
        ("#",),
        ("#METADATA",),
        ("#Device", "", "", "Affectiva AFFDEX"),
        ("#Channel identifier", "Timestamp", "Joy"),
        ("#DATA",),
    ]
    lines = [",".join(cells) for cells in preamble] + [",".join(NEW_COLUMNS)]
    part = -(-len(rows) // len(stimuli))
    for number, (time_ms, face) in enumerate(rows):
        shared = {"Timestamp": time_ms, "SourceStimuliName": stimuli[number // part]}
        own = {"EventSource": "Affectiva AFFDEX", "SampleNumber": number, **(face or {})}
        lines.append(_line(NEW_COLUMNS, {**shared, **own}, ",", False, sensor=1))
        skin = {"Timestamp": time_ms + 3, "EventSource": "Shimmer3 GSR", "GSR RAW": 1.5}
        lines.append(_line(NEW_COLUMNS, {**shared, **skin}, ",", False, sensor=2))
    path.write_bytes(("\ufeff" + "\n".join([*lines, ""])).encode("utf-8"))
    return path


def _line(
    columns: Sequence[str],
    values: dict[str, object],
    separator: str,
    comma: bool,
    sensor: int = 0,
) -> str:
    """One row; of several columns of one name the one numbered `sensor` is filled."""
    cells, seen = [], dict[str, int]()
    for column in columns:
        value = values.get(column, "")
        if columns.count(column) > 2 and seen.get(column, 0) != sensor:
            value = ""
        seen[column] = seen.get(column, 0) + 1
        text = str(value)
        cells.append(text.replace(".", ",") if comma and isinstance(value, float) else text)
    return separator.join(cells)
