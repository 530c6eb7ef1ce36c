"""Commands that were benches once."""

import pytest

from affectstream.stream import exits
from tests.support.command import run_command


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (("fusion", "--member", "faces"), "affectstream train evaluate-fusion"),
        (("overlay", "interview.mp4", "-o", "pictures"), "affectstream score --format overlay"),
    ],
)
def test_a_command_that_moved_says_where(words, place, capsys):
    assert run_command("bench", *words) == exits.USAGE
    assert place in capsys.readouterr().err
