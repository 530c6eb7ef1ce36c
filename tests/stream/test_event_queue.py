"""Events between the thread that computes them and whoever reads them."""

import asyncio

import pytest

from affectstream.stream import Stream
from affectstream.stream.event_queue import EventQueue


def event(number):
    return Stream(stream="s", t_start=number, t_end=number, modalities=(), what="warning")


@pytest.fixture
def filled():
    events = EventQueue(None)
    for number in range(4):
        events.put(event(number))
    events.close()
    return events


def test_what_an_iteration_did_not_take_is_there_for_the_next(filled):
    assert next(iter(filled)).t_start == 0
    for first in filled:
        assert first.t_start == 1
        break
    assert [one.t_start for one in filled.ready()] == [2, 3]


def test_async_iterations_may_be_left_too(filled):
    async def read():
        async for first in filled:
            return [first.t_start] + [one.t_start async for one in filled]

    assert asyncio.run(read()) == [0, 1, 2, 3]


def test_two_readers_in_one_event_loop_share_the_events_and_both_end():
    events = EventQueue(None)

    async def read():
        return [one.t_start async for one in events]

    async def main():
        readers = [asyncio.create_task(read()) for _ in range(2)]
        await asyncio.sleep(0)
        for number in range(3):
            events.put(event(number))
        events.close()
        return await asyncio.wait_for(asyncio.gather(*readers), 20)

    first, second = asyncio.run(main())
    assert sorted([*first, *second]) == [0, 1, 2]
