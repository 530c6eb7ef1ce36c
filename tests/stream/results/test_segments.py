from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.results.segments import Segmenter

HOP = 500_000


def run(states, minimum=1_000_000):
    segmenter = Segmenter(minimum)
    out = []
    for hop, state in enumerate(states):
        out += segmenter.push(hop * HOP, (hop + 1) * HOP, state, 0.5 + 0.1 * (state == "b"))
    return out + segmenter.flush()


def spans(stretches):
    return [(s.state, s.start_us // HOP, s.end_us // HOP) for s in stretches]


def test_a_state_begins_where_it_was_first_seen():
    assert spans(run("aaaabbbb")) == [("a", 0, 4), ("b", 4, 8)]


def test_a_flicker_belongs_to_what_surrounds_it():
    assert spans(run("aaabaaaa")) == [("a", 0, 8)]


def test_hops_without_a_state_end_a_segment():
    assert spans(run(["a"] * 3 + [None] * 3 + ["b"] * 3)) == [("a", 0, 3), ("b", 6, 9)]


def test_a_state_too_short_at_the_end_is_no_segment():
    assert spans(run("aaab")) == [("a", 0, 4)]


def test_mean_and_peak_are_of_the_state_itself():
    segmenter = Segmenter(1_000_000)
    for hop, score in enumerate([0.4, 0.6, 0.9, 0.5]):
        segmenter.push(hop * HOP, (hop + 1) * HOP, "a", score)
    (only,) = segmenter.flush()
    assert only.peak == 0.9
    assert abs(only.mean - 0.6) < 1e-9


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=60))
def test_segments_are_ordered_disjoint_and_long_enough(states):
    found = run(states)
    for one, other in pairwise(found):
        assert one.end_us <= other.start_us
    for stretch in found:
        assert stretch.end_us - stretch.start_us >= 1_000_000
        assert 0 <= stretch.mean <= stretch.peak <= 1
