"""Where a figure stands out: the place that a summary leads to."""

from pathlib import Path

import pyarrow as pa

from affectstream.bench.score.report import invented
from affectstream.stream.events import Segment
from affectstream.stream.report.moments import moments
from affectstream.stream.report.people_file import people_summary, read, write
from affectstream.stream.report.readings_by_person import people

HOPS = 120


def found(segments=(), **columns):
    """The moments of a person from 10 s on, with readings of half a second."""
    rows = {
        "track": [1] * HOPS,
        "hop": list(range(20, 20 + HOPS)),
        "modalities": ["video"] * HOPS,
        "label": ["neutral"] * HOPS,
        "attention_state": ["attentive"] * HOPS,
    }
    (person,) = people(pa.table(rows | columns))
    return moments(person, segments, ("neutral", "joy"), hop_s=0.5)


def test_a_share_stands_out_in_its_longest_stretch():
    label = ["joy"] * 4 + ["neutral"] * 36 + ["joy"] * 20 + ["neutral"] * 50 + ["joy"] * 10
    state = ["attentive"] * 100 + ["away"] * 20
    moment = found(label=label, attention_state=state)
    assert moment["share_joy"] == (10 + (60 + 110) / 4, 10 + (40 + 60) / 4)
    assert moment["gaze_away"] == (35.0, 65.0) and moment["attentive"] == (65.0, 35.0)
    assert moment["speaking"] == (40.0, None)  # nobody speaks


def test_a_mean_stands_out_where_it_is_so_for_some_seconds():
    valence = [0.0] * HOPS
    valence[5] = 1.0  # one odd reading
    valence[30:45] = [0.6] * 15
    valence[80:95] = [-0.5] * 15
    valence[60:70] = [None] * 10
    low, high = found(valence=valence)["valence"]
    assert 10 + 80 / 2 <= low <= 10 + 95 / 2 and 10 + 30 / 2 <= high <= 10 + 45 / 2
    assert found()["valence"] == (None, None)


def test_segments_stand_out_in_the_minute_with_most_of_them():
    starts = (0.0, 70.0, 200.0, 210.0, 215.0, 300.0)
    made = [
        Segment(
            stream="talk.mp4",
            track=1,
            t_start=t,
            t_end=t + 1,
            modalities=("video",),
            of="emotion",
            state="joy",
            mean=0.5,
            peak=0.5,
        )
        for t in starts
    ]
    assert found(made)["segments_per_minute"] == (None, 200.0)
    assert found()["segments_per_minute"] == (None, None)


def test_they_are_kept_with_the_numbers_and_may_be_missing_in_older_files(tmp_path):
    talk = invented(70.0, 2, Path("talk.mp4"), seed=0)
    write(talk, tmp_path / "people.json")
    assert read(tmp_path / "people.json").moments == people_summary(talk).moments
    assert len(people_summary(talk).moments) == 2
    (tmp_path / "people.json").write_text('{"duration_s": 1.0, "people": [], "pairs": []}')
    assert read(tmp_path / "people.json").moments == []
