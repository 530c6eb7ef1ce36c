"""Earlier utterances as text."""

from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.media.types import Cue
from affectstream.stream.transcript.context import join_utterances
from affectstream.stream.transcript.files import CurrentUtterance

LINES = st.lists(
    st.tuples(st.sampled_from(["Ann", "Ben", "Cem", None]), st.sampled_from(["yes", "no", "why"])),
    min_size=1,
    max_size=8,
)


def test_the_one_who_speaks_now_is_a_and_the_others_follow_as_they_spoke_last():
    lines = [("Cem", "why"), ("Ann", "so"), ("Ben", "no"), ("Ann", "yes")]
    assert join_utterances(lines) == "C: why A: so B: no A: yes"


def test_words_of_nobody_in_particular_have_no_mark():
    assert (
        join_utterances([("Ann", "so"), (None, "[a door]"), ("Ben", "no")])
        == "B: so [a door] A: no"
    )
    assert join_utterances([(None, "one"), (None, "two")]) == "one two"


def test_a_single_utterance_is_left_as_it_is():
    assert join_utterances([("Ann", "yes")]) == "yes"


def test_a_crowd_runs_out_of_letters_and_not_of_words():
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
def test_what_was_said_before_is_the_same_in_whatever_order_cues_are_told(ends, count, random):
    cues = [Cue(0, end, f"{number}") for number, end in enumerate(sorted(set(ends)))]
    told = list(cues)
    random.shuffle(told)
    words = CurrentUtterance(count)
    for cue in told:
        words.push(cue)
    for number, cue in enumerate(cues):
        assert words.before(cue) == tuple(cues[max(0, number - count) : number])
