"""From observations to events: what a hop costs besides looking and listening."""

from affectstream.stream import Recognizer
from affectstream.stream.events import encode, parse_event
from affectstream.stream.options import SourceOptions
from affectstream.stream.results.interpret import Interpreter


def test_interpret_two_seconds_of_a_face(benchmark, bundle, observations):
    def interpret():
        interpreter = Interpreter(bundle, "clip", SourceOptions(), ("video",))
        hops = []
        for point, observation in enumerate(observations):
            hops += interpreter.push_frame(range(point, point + 1), observation)
        return [*hops, *interpreter.flush(2_000_000)]

    assert len(benchmark(interpret)) >= 3


def test_write_an_event(benchmark, clip):
    with Recognizer.open("pocket", threads=1) as recognizer:
        event = next(e for e in recognizer.score(clip).events if e.type == "emotion")
    line = benchmark(encode, event)
    assert parse_event(line) == event


def test_score_the_clip(benchmark, clip):
    """The whole of it: 16 seconds of 640x360 with sound and words, on one thread."""
    with Recognizer.open("pocket", threads=1) as recognizer:
        result = benchmark.pedantic(recognizer.score, (clip,), rounds=3, warmup_rounds=1)
    assert result.events
