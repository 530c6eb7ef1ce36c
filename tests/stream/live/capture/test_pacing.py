"""What can be read faster than it plays."""

import threading
from fractions import Fraction
from itertools import count

import av
import pytest

from affectstream.stream.live.capture.decoder import SourceFrame
from affectstream.stream.live.capture.pacing import Pacer


def test_what_is_being_decoded_at_the_end_of_a_file_is_not_lost():
    begun, go, given_out = threading.Event(), threading.Event(), []

    def decode(packet):
        begun.set()
        assert go.wait(20)
        return [SourceFrame(av.VideoFrame(16, 16), 200_000)]

    with Pacer(decode, given_out.append, threading.Event(), lambda: None) as pacer:
        assert pacer.put(av.Packet(b"one picture"))
        assert not pacer.drained(0.0)
        assert begun.wait(20)
        assert not pacer.drained(0.0), "it is in no list just now"
        go.set()
        while not pacer.drained(0.1):
            pass
    assert [frame.source_us for frame in given_out] == [200_000]


def packet(pts):
    made = av.Packet(b"one picture")
    made.pts, made.dts, made.time_base = pts, pts, Fraction(1)
    return made


def put_until_it_ends(pacer):
    numbers = count()
    while pacer.put(packet(next(numbers))):
        pass


def test_an_error_of_the_receiver_is_raised_where_packets_are_put():
    def fail(frame):
        raise RuntimeError("the session broke")

    def decode(packet):
        return [SourceFrame(av.VideoFrame(16, 16), 0)]

    with (
        Pacer(decode, fail, threading.Event(), lambda: None) as pacer,
        pytest.raises(RuntimeError, match="the session broke"),
    ):
        put_until_it_ends(pacer)


def test_waiting_for_room_is_no_silence():
    """After a gap in a file nothing has room for long; the source is not stuck."""
    stop, waited = threading.Event(), threading.Event()
    with Pacer(lambda packet: [], lambda frame: None, stop, waited.set) as pacer:
        assert pacer.put(packet(0))

        def put_what_is_due_much_later():
            numbers = count(1000)
            while pacer.put(packet(next(numbers))):
                pass

        threading.Thread(target=put_what_is_due_much_later, daemon=True).start()
        assert waited.wait(20)
        stop.set()
