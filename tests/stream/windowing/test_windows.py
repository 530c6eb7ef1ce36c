"""The windower: the windows do not depend on how the input was cut."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from affectstream.stream.faces.face import Face
from affectstream.stream.faces.measures.quality import Quality
from affectstream.stream.media.types import FOREVER_US, SAMPLE_RATE, Bound, Cue, MediaKind, Samples
from affectstream.stream.windowing.windows import TrackSample, Windower, WindowShape

SHAPE = WindowShape(window_us=1_500_000, hop_us=500_000, frame_hz=8)
SECONDS = 4.2
SOUND = (np.arange(int(SECONDS * SAMPLE_RATE), dtype=np.float32) % 997 / 997)[:, None]
POINTS = int(SECONDS * 8) + 1


def look(point):
    face = Face(
        (0, 0, 9, 9),
        np.zeros((5, 2), np.float32),
        1.0,
        Quality(1, 1, 1),
        (np.full(3, point, np.float32),),
        np.ones(2, np.float32),
    )
    return TrackSample(point, point * 125_000, (64, 48), face)


def windows(pieces, order):
    """Push sound in pieces of these lengths and grid points, as `order` interleaves them."""
    windower = Windower(SHAPE)
    out, at, point, cuts = [], 0, 0, iter(pieces)
    for hear in order:
        if hear and at < len(SOUND):
            step = min(next(cuts, len(SOUND)), len(SOUND) - at)
            out += windower.push_sound(Samples(at, SOUND[at : at + step]))
            at += step
        elif point < POINTS:
            out += windower.push_frame(point, [(1, look(point))] if point % 5 else [])
            point += 1
    while point < POINTS:
        out += windower.push_frame(point, [(1, look(point))] if point % 5 else [])
        point += 1
    if at < len(SOUND):
        out += windower.push_sound(Samples(at, SOUND[at:]))
    for kind in MediaKind:
        out += windower.push_bound(Bound(kind, FOREVER_US))
    return [*out, *windower.flush(int(SECONDS * 1e6))]


def fingerprint(found):
    return [
        (
            w.hop,
            w.start_us,
            w.end_us,
            w.voiced_us,
            w.sound.tobytes(),
            {t: [k.point for k in looks] for t, looks in w.tracks.items()},
        )
        for w in found
    ]


EXPECTED = fingerprint(windows([], [True] + [False] * POINTS))


def test_every_hop_goes_out_once_in_order_and_the_tail_is_flushed():
    assert [hop for hop, *_ in EXPECTED] == list(range(9))  # 4.2 s are nine hops of 0.5 s
    assert all(end - start == 500_000 for _, start, end, *_ in EXPECTED)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 20_000), max_size=40), st.lists(st.booleans(), max_size=120))
def test_windows_do_not_depend_on_cutting_and_interleaving(pieces, order):
    assert fingerprint(windows(pieces, order)) == EXPECTED


def test_no_sample_is_lost_or_repeated():
    found = windows([777] * 99, [True, False] * 200)
    for window in found:
        last = window.end_us * SAMPLE_RATE // 1_000_000
        first = last - len(window.sound)
        expected = np.zeros_like(window.sound)
        lo, hi = max(0, first), min(last, len(SOUND))
        expected[lo - first : hi - first] = SOUND[lo:hi]
        assert np.array_equal(window.sound, expected)


def test_a_window_looks_back_and_never_ahead():
    for window in windows([], [True] + [False] * POINTS):
        points = [k.point for k in window.tracks.get(1, ())]
        last = (window.hop + 1) * 4
        assert all(last - 12 <= p < last for p in points)
        assert points == [p for p in range(max(0, last - 12), min(last, POINTS)) if p % 5]


def test_a_hop_waits_for_both_kinds_and_not_for_one_that_has_ended():
    windower = Windower(SHAPE)
    assert not [w for p in range(12) for w in windower.push_frame(p, [])]
    assert [w.hop for w in windower.push_sound(Samples(0, SOUND[:8_000]))] == [0]
    assert [w.hop for w in windower.push_bound(Bound(MediaKind.AUDIO, FOREVER_US))] == [1, 2]


def test_words_count_from_their_end():
    windower = Windower(SHAPE)
    windower.push_cue(Cue(200_000, 1_100_000, "hello"))
    windower.push_bound(Bound(MediaKind.AUDIO, FOREVER_US))
    found = [w for p in range(80) for w in windower.push_frame(p, [])]
    said = [w.cue.text if w.cue else None for w in found]
    assert said[:3] == [None, None, "hello"]
    assert said[11] == "hello"
    assert said[13] is None  # five seconds after its end


def test_a_part_begins_at_its_own_hop():
    windower = Windower(SHAPE, start_us=3_000_000)
    windower.push_bound(Bound(MediaKind.AUDIO, FOREVER_US))
    found = [w for p in range(24, 40) for w in windower.push_frame(p, [(1, look(p))])]
    assert [w.hop for w in found] == [6, 7, 8, 9]
    assert [k.point for k in found[0].tracks[1]] == [24, 25, 26, 27]
