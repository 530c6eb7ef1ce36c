from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream import Emotion, Recognizer, Segment
from affectstream.stream.results.segments import Segmenter

HOP = 500_000
SCORES = {"a": 0.5, "b": 0.6, "c": 0.3}


def run(states, hop_us=HOP):
    segmenter = Segmenter()
    out = []
    for hop, state in enumerate(states):
        out += segmenter.push(hop * hop_us, (hop + 1) * hop_us, state, SCORES)
    return out + segmenter.flush()


def spans(stretches, hop_us=HOP):
    return [(s.state, s.start_us // hop_us, s.end_us // hop_us) for s in stretches]


def hops(text):
    """One hop a character; ``-`` is a hop without a state."""
    return [None if state == "-" else state for state in text]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("aaaabbbb", [("a", 0, 4), ("b", 4, 8)]),
        ("aaabaaaa", [("a", 0, 8)]),
        ("aaa-aaaa", [("a", 0, 8)]),
        ("aaa---bbb", [("a", 0, 3), ("b", 6, 9)]),
        ("aaa--aaa", [("a", 0, 3), ("a", 5, 8)]),
        ("aaab", [("a", 0, 3)]),
        ("-a-a-a-a", []),
        ("abcabcab", []),
        ("aa-a-a-b", [("a", 0, 6)]),
        ("", []),
    ],
)
def test_a_segment_is_a_stretch_of_hops_that_carry_its_state(states, expected):
    assert spans(run(hops(states))) == expected


def test_mean_and_peak_are_of_the_state_itself_also_where_another_leads():
    segmenter = Segmenter()
    for hop, (state, score) in enumerate([("a", 0.4), ("a", 0.6), ("b", 0.1), ("a", 0.9)]):
        segmenter.push(hop * HOP, (hop + 1) * HOP, state, {"a": score, "b": 1 - score})
    (only,) = segmenter.flush()
    assert (only.peak, only.mean) == (0.9, pytest.approx(0.5))


def test_a_hop_without_scores_counts_for_neither():
    segmenter = Segmenter()
    for hop, state in enumerate("aa-a"):
        strengths = {} if state == "-" else {"a": 0.8}
        segmenter.push(hop * HOP, (hop + 1) * HOP, None if state == "-" else state, strengths)
    (only,) = segmenter.flush()
    assert (only.end_us, only.mean) == (4 * HOP, pytest.approx(0.8))


@given(
    st.lists(st.sampled_from(["a", "b", "c", None]), max_size=60),
    st.sampled_from([100_000, 500_000, 1_000_000]),
)
def test_most_hops_of_every_segment_carry_its_state(states, hop_us):
    found = run(states, hop_us)
    for one, other in pairwise(found):
        assert one.end_us <= other.start_us
    for state, first, end in spans(found, hop_us):
        inside = states[first:end]
        assert 2 * inside.count(state) > len(inside)
        assert inside[0] == inside[-1] == state
        assert (end - first) * hop_us >= 1_000_000
    for stretch in found:
        assert 0 <= stretch.mean <= stretch.peak <= 1


@given(st.lists(st.sampled_from(["a", "b", None]), max_size=40))
def test_a_state_that_lasts_for_a_second_is_in_a_segment(states):
    inside = {(state, hop) for state, first, end in spans(run(states)) for hop in range(first, end)}
    for hop, (one, other) in enumerate(pairwise(states)):
        if one is not None and one == other:
            assert {(one, hop), (one, hop + 1)} <= inside


@pytest.mark.slow
def test_segments_of_real_recordings_say_what_their_hops_say(data_root):
    """Of 34 segments 20 were contradicted by most of their hops when they came from smoothed scores."""
    clips = [p for p in sorted((data_root / "video").glob("*")) if p.suffix in (".mp4", ".mov")]
    with Recognizer.open(threads=2) as recognizer:
        results = {clip.name: recognizer.score(clip).events for clip in clips}
    found = 0
    for name, events in results.items():
        hops = [e for e in events if isinstance(e, Emotion)]
        for one in (e for e in events if isinstance(e, Segment) and e.of == "emotion"):
            inside = [
                hop
                for hop in hops
                if hop.track == one.track and one.t_start <= hop.t_start < one.t_end
            ]
            same = sum(hop.label == one.state for hop in inside)
            assert 2 * same > len(inside), (name, one)
            scores = [hop.scores[one.state] for hop in inside if hop.scores]
            assert one.mean == pytest.approx(sum(scores) / len(scores), abs=1e-4)
            assert one.peak == max(scores)
            found += 1
    assert found > len(clips) / 2
