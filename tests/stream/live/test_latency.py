"""When a hop was complete, and quantiles of durations."""

from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.live.latency import Completion, LatencyRecorder, quantile
from affectstream.stream.media.types import MediaKind

VIDEO, AUDIO = MediaKind.VIDEO, MediaKind.AUDIO


def test_a_hop_is_complete_with_the_last_that_it_needs():
    completion = Completion((VIDEO, AUDIO))
    completion.push(VIDEO, 500_000, 1.42)
    completion.push(AUDIO, 480_000, 1.49)
    assert completion.complete_s(500_000) is None
    completion.push(AUDIO, 520_000, 1.53)
    assert completion.complete_s(500_000) == 1.53
    completion.push(AUDIO, 1_000_000, 2.0)
    completion.push(VIDEO, 1_000_000, 2.5)
    assert completion.complete_s(1_000_000) == 2.5


def test_quantiles_are_those_of_the_newest_durations():
    recorder = LatencyRecorder()
    assert recorder.quantile(0.5) is None
    for duration in (9000.0, *range(1, 241)):
        recorder.push(duration)
    assert (recorder.quantile(0.5), recorder.quantile(1.0)) == (120, 240)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_a_quantile_is_a_value_that_enough_do_not_exceed(values, share):
    found = quantile(values, share)
    assert found in values
    assert sum(v <= found for v in values) >= share * len(values) - 1e-6
    assert sum(v < found for v in values) < share * len(values)
