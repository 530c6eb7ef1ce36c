"""What `bench memory` counts as growth."""

from affectstream.bench.score.memory import growth_later


def test_growth_after_ten_minutes_is_over_the_most_until_then():
    until_then = [650.0, 690.0, 700.0, 680.0, 700.0, 690.0, 700.0, 660.0, 700.0, 690.0]
    assert growth_later([*until_then, 710.0, 705.0]) == 10.0
    assert growth_later(until_then) is None
