"""How far a batch is, in lines and in words."""

import io

from rich.console import Console

from affectstream.stream.batch.progress import LINE_S, BatchProgress


def test_without_a_terminal_there_is_a_line_now_and_then_with_rate_and_time_left():
    printed, now = io.StringIO(), [0.0]
    console = Console(file=printed, width=200)
    lengths_s = {"a": 100.0, "b": 60.0, "c": 0.0}
    with BatchProgress(console, lengths_s, now_s=lambda: now[0]) as progress:
        progress.advance("a", 10.0)
        now[0] = LINE_S
        progress.advance("a", 61.0)
        now[0] += 1.0
        progress.finish("a", 100.0)
        now[0] = 2 * LINE_S
        progress.finish("b", 60.0)
        progress.finish("c", 0.0)
    assert printed.getvalue().splitlines() == [
        "38%: 0/3 recordings, 2.0 x real time, 0:00:49 left",
        "99%: 2/3 recordings, 2.7 x real time, 0:00:00 left",
    ]
    assert progress.text() == "3/3 recordings, 2.7 x real time, 0:00:00 left"


def test_it_can_be_off_and_messages_still_come():
    printed, now = io.StringIO(), [0.0]
    console = Console(file=printed, width=200)
    with BatchProgress(console, {"a": 1.0}, enabled=False, now_s=lambda: now[0]) as progress:
        now[0] = 10 * LINE_S
        progress.finish("a", 1.0)
        progress.print("error: a")
    assert printed.getvalue() == "error: a\n"


def test_a_terminal_gets_a_bar():
    printed = io.StringIO()
    console = Console(file=printed, width=100, force_terminal=True)
    with BatchProgress(console, {"a": 10.0, "b": 10.0}) as progress:
        progress.finish("a", 10.0)
        assert "1/2 recordings" in progress.text()
    assert "recordings" in printed.getvalue()
