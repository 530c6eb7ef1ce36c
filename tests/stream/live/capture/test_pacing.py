"""What can be read faster than it plays."""

import threading

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

    with Pacer(decode, given_out.append, threading.Event()) as pacer:
        assert pacer.put(av.Packet(b"one picture"))
        assert not pacer.drained(0.0)
        assert begun.wait(20)
        assert not pacer.drained(0.0), "it is in no list just now"
        go.set()
        while not pacer.drained(0.1):
            pass
    assert [frame.source_us for frame in given_out] == [200_000]


def put_until_it_ends(pacer):
    while pacer.put(av.Packet(b"one picture")):
        pass


def test_an_error_of_the_receiver_is_raised_where_packets_are_put():
    def fail(frame):
        raise RuntimeError("the session broke")

    def decode(packet):
        return [SourceFrame(av.VideoFrame(16, 16), 0)]

    with (
        Pacer(decode, fail, threading.Event()) as pacer,
        pytest.raises(RuntimeError, match="the session broke"),
    ):
        put_until_it_ends(pacer)
