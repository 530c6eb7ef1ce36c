"""Which utterance is current, and earlier utterances as text."""

import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.media.types import Bound, Cue, MediaKind
from affectstream.stream.transcript.context import (
    CURRENT_FOR_US,
    CurrentUtterance,
    join_utterances,
)
from affectstream.stream.windowing.windows import Windower, WindowShape

LINES = st.lists(
    st.tuples(st.sampled_from(["Ann", "Ben", "Cem", None]), st.sampled_from(["yes", "no", "why"])),
    min_size=1,
    max_size=8,
)


def test_the_last_speaker_is_a_and_the_others_follow_by_when_they_spoke_last():
    lines = [("Cem", "why"), ("Ann", "so"), ("Ben", "no"), ("Ann", "yes")]
    assert join_utterances(lines) == "C: why A: so B: no A: yes"


def test_words_without_a_speaker_have_no_mark():
    assert (
        join_utterances([("Ann", "so"), (None, "[a door]"), ("Ben", "no")])
        == "B: so [a door] A: no"
    )
    assert join_utterances([(None, "one"), (None, "two")]) == "one two"


def test_a_single_utterance_is_left_as_it_is():
    assert join_utterances([("Ann", "yes")]) == "yes"


def test_more_speakers_than_letters_share_the_last_letter():
    lines = [(f"P{n}", "hm") for n in range(40)]
    assert join_utterances(lines).startswith("Z: hm Z: hm")
    assert join_utterances(lines).endswith("B: hm A: hm")


@given(LINES)
def test_names_do_not_matter_and_the_current_words_come_last(lines):
    renamed = [(None if who is None else f"{who}!", words) for who, words in lines]
    assert join_utterances(lines) == join_utterances(renamed)
    assert join_utterances(lines).endswith(lines[-1][1])
    assert not any(name in join_utterances(lines) for name in ("Ann", "Ben", "Cem"))


@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.integers(0, 4), st.randoms())
def test_earlier_cues_do_not_depend_on_the_order_of_pushing(ends, count, random):
    cues = [Cue(0, end, f"{number}") for number, end in enumerate(sorted(set(ends)))]
    told = list(cues)
    random.shuffle(told)
    words = CurrentUtterance(count)
    for cue in told:
        words.push(cue)
    for number, cue in enumerate(cues):
        assert words.before(cue) == tuple(cues[max(0, number - count) : number])


def test_a_cue_counts_from_its_end_for_five_seconds_or_until_the_next():
    current = CurrentUtterance()
    first, second = Cue(0, 2_000_000, "one"), Cue(1_000_000, 4_000_000, "two")
    current.push(second)
    current.push(first)
    assert current.at(1_999_999) is None
    assert current.at(2_000_000) == first
    assert current.at(3_999_999) == first
    assert current.at(4_000_000) == second
    assert current.at(4_000_000 + CURRENT_FOR_US - 1) == second
    assert current.at(4_000_000 + CURRENT_FOR_US) is None
    assert current.at(2_500_000) == first


class Watched(Cue):
    """A cue that a test can watch through a weak reference."""


@pytest.mark.parametrize("context", [0, 3])
def test_cues_that_can_no_longer_count_are_dropped(context):
    """20,000 cues pushed as they end, one every 50 ms, with a hop every half second."""
    windower = Windower(WindowShape(3_000_000, 500_000, 8), context=context)
    alive, most = weakref.WeakSet(), 0
    for number in range(20_000):
        cue = Watched(number * 50_000, (number + 1) * 50_000, str(number))
        alive.add(cue)
        windower.push_cue(cue)
        for kind in MediaKind:
            list(windower.push_bound(Bound(kind, cue.end_us)))
        most = max(most, len(alive))
    assert most <= CURRENT_FOR_US // 50_000 + 10 + context + 2


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=20),
    st.integers(0, 4),
    st.lists(st.integers(0, 100), min_size=1, max_size=10).map(sorted),
)
def test_forgetting_does_not_change_what_is_current(spans, context, times):
    cues = [Cue(a * 1_000_000, (a + n) * 1_000_000, f"{a}+{n}") for a, n in spans]
    whole, trimmed = CurrentUtterance(context), CurrentUtterance(context)
    for cue in cues:
        whole.push(cue)
    for early in cues[::2]:
        trimmed.push(early)
    late = cues[1::2]
    for t_us in (t_s * 1_000_000 for t_s in times):
        for cue in late:
            if cue.end_us <= t_us:  # the others come once they have ended, or later
                trimmed.push(cue)
        late = [cue for cue in late if cue.end_us > t_us]
        trimmed.forget(t_us)
        cue = whole.at(t_us)
        assert trimmed.at(t_us) == cue
        if cue is not None:
            assert trimmed.before(cue) == whole.before(cue)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=15), st.integers(0, 80))
def test_the_order_of_the_cues_makes_no_difference(spans, t_s):
    cues = [Cue(a * 1_000_000, (a + n) * 1_000_000, f"{a}+{n}") for a, n in spans]
    ahead, late = CurrentUtterance(), CurrentUtterance()
    for cue in cues:
        ahead.push(cue)
    for cue in sorted(cues, key=lambda c: (c.end_us, c.start_us)):
        if cue.end_us <= t_s * 1_000_000:
            late.push(cue)
    assert ahead.at(t_s * 1_000_000) == late.at(t_s * 1_000_000)
