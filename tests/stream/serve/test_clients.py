"""What clients receive: queues, boxes and messages, without a server."""

from __future__ import annotations

import asyncio
import dataclasses

import msgspec
import numpy as np
import pytest

pytest.importorskip("prometheus_client", reason="the server comes with the 'serve' extra")
from hypothesis import given
from hypothesis import strategies as st

from affectstream.stream.faces.face import Face, FrameObservation
from affectstream.stream.faces.measures.quality import Quality
from affectstream.stream.fusion.reading import Reading
from affectstream.stream.serve.clients import messages
from affectstream.stream.serve.clients.overlay import FaceOverlay
from affectstream.stream.serve.clients.people import PersonMemory
from affectstream.stream.serve.clients.subscribers import SendQueue
from affectstream.stream.serve.hub import clean_name
from affectstream.stream.windowing.windows import TrackSample


class TestSendQueue:
    def test_a_full_queue_drops_the_oldest_and_counts_it(self) -> None:
        async def work() -> list[str]:
            queue, out = SendQueue(max_lines=3), []
            for number in range(5):
                queue.push(b"%d" % number)
            queue.close()
            queue.push(b"too late")

            async def send(line: str) -> None:
                out.append(line)

            await queue.deliver(send)
            assert (queue.delivered, queue.dropped) == (3, 2)
            return out

        assert asyncio.run(work()) == ["2", "3", "4"]

    def test_a_client_that_does_not_read_is_given_up(self) -> None:
        async def work() -> None:
            queue = SendQueue()
            queue.push(b"x")

            async def send(line: str) -> None:
                await asyncio.Event().wait()

            with pytest.raises(TimeoutError):
                await queue.deliver(send, patience_s=0.01)
            assert queue.delivered == 0

        asyncio.run(work())

    def test_a_queue_needs_room_for_one(self) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            SendQueue(max_lines=0)


def face_at(x: float, y: float, side: float = 40.0) -> Face:
    return Face(
        box=(x, y, x + side, y + side),
        landmarks=np.full((5, 2), x, np.float32),
        score=0.9,
        quality=Quality(1.0, 1.0, 1.0),
        embeddings=(np.zeros(4, np.float32),),
        appearance=np.zeros(4, np.float32),
    )


def reading(track: int | None, face: Face | None) -> Reading:
    return Reading(
        hop=0,
        start_us=0,
        end_us=500_000,
        track=track,
        modalities=("video",),
        scores=None,
        label=None,
        confidence=None,
        abstain="low_confidence",
        assigned_by=None,
        track_sample=None if face is None else TrackSample(0, 0, (400, 200), face),
        voiced=0.0,
    )


class TestOverlay:
    def test_moving_faces_keep_their_tracks(self) -> None:
        overlay = FaceOverlay("cam")
        left, right = face_at(10, 10), face_at(200, 10)
        overlay.update_tracks([reading(1, left), reading(2, right), reading(None, None)])
        for step in range(1, 20):
            faces = face_at(200 - step * 3, 10), face_at(10 + step * 3, 10)
            observation = FrameObservation(step * 125_000, (400, 200), faces)
            assert [one.track for one in overlay.message(observation).faces] == [2, 1]

    def test_boxes_are_fractions_of_the_frame(self) -> None:
        overlay = FaceOverlay("cam")
        message = overlay.message(FrameObservation(1_500_000, (400, 200), (face_at(100, 50),)))
        line = msgspec.json.decode(messages.pack(message))
        assert line["type"] == "faces" and line["t"] == 1.5 and line["size"] == [400, 200]
        assert line["faces"][0]["box"] == [0.25, 0.25, 0.35, 0.45]
        assert line["faces"][0]["track"] is line["faces"][0]["person"] is None, "no hop has come"
        overlay.update_tracks([reading(1, face_at(100, 50))])
        message = overlay.message(FrameObservation(1_625_000, (400, 200), (face_at(100, 50),)))
        assert (message.faces[0].track, message.faces[0].person) == (1, 1)


class TestPersonMemory:
    @staticmethod
    def looking(*appearance: float) -> Face:
        vector = np.asarray(appearance, np.float32)
        return dataclasses.replace(face_at(0, 0), appearance=vector / np.linalg.norm(vector))

    def test_a_person_who_returns_after_their_track_was_forgotten_is_recognized(self) -> None:
        memory = PersonMemory()
        memory.update({1: self.looking(1, 0), 2: self.looking(0, 1)}, 1_000_000)
        memory.update({2: self.looking(0, 1)}, 13_000_000)
        memory.update({2: self.looking(0, 1), 3: self.looking(1, 0.1)}, 13_500_000)
        assert [memory.person(track) for track in (1, 2, 3)] == [1, 2, 1]
        memory.update({4: self.looking(1, 0.1)}, 30_000_000)
        assert memory.person(4) == 1, "again"

    def test_another_person_is_not(self) -> None:
        memory = PersonMemory()
        memory.update({1: self.looking(1, 0)}, 1_000_000)
        memory.update({2: self.looking(0.5, 1)}, 13_000_000)
        assert memory.person(2) == 2

    def test_a_track_that_may_still_return_keeps_its_person(self) -> None:
        memory = PersonMemory()
        memory.update({1: self.looking(1, 0)}, 1_000_000)
        memory.update({2: self.looking(1, 0)}, 3_000_000)
        assert memory.person(2) == 2, "two people who look alike, one of them hidden"

    def test_a_face_that_was_turned_at_first_is_recognized_within_two_seconds(self) -> None:
        for turned_s, person in ((1, 1), (4, 2)):
            memory = PersonMemory()
            memory.update({1: self.looking(1, 0)}, 1_000_000)
            for half_s in range(2 * turned_s):
                memory.update({2: self.looking(0, 1)}, 15_000_000 + half_s * 500_000)
            memory.update({2: self.looking(1, 0)}, 15_000_000 + turned_s * 1_000_000)
            assert memory.person(2) == person

    def test_a_person_is_forgotten_with_the_history(self) -> None:
        memory = PersonMemory()
        memory.update({1: self.looking(1, 0)}, 1_000_000)
        memory.update({2: self.looking(1, 0)}, 125_000_000)
        assert memory.person(2) == 2


class TestMessages:
    @given(st.text() | st.binary())
    def test_junk_is_refused_with_a_reason(self, junk: str | bytes) -> None:
        with pytest.raises(ValueError, match=r"not a message|characters"):
            messages.unpack(junk)

    @pytest.mark.parametrize(
        "text",
        [
            '{"type":"ping","t":"x"}',
            '{"type":"words","t_start":0,"t_end":1e300,"text":"a"}',
            '{"type":"words","t_start":0,"t_end":1,"text":""}',
            '{"type":"shutdown"}',
            '{"type":"ping","more":1}',
            "[" * 4000,
            "{" + " " * 9000 + "}",
        ],
    )
    def test_invalid_messages_are_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"not a message|characters"):
            messages.unpack(text)

    def test_valid_messages_are_parsed(self) -> None:
        words = messages.unpack('{"type":"words","t_start":1,"t_end":2,"text":"well done"}')
        assert words == messages.Words(1.0, 2.0, "well done")
        assert messages.unpack('{"type":"ping"}') == messages.Ping(0.0)

    @given(st.text())
    def test_client_names_become_short_and_printable(self, name: str) -> None:
        assert len(clean_name(name)) <= 80 and clean_name(name).isprintable()
