"""Exponents and lines through measured costs."""

import pytest

pytest.importorskip("scipy", reason="intervals need scipy")

from affectstream.bench.cost.growth import Growth, Point, parse_names, table
from affectstream.engines.errors import UsageError


def growth(costs):
    points = (Point(str(x), x, (cost, cost, cost)) for x, cost in costs)
    return Growth("faces", tuple(points))


def test_a_power_law_is_found():
    exponent = growth((x, 3 * x**0.5) for x in (1, 2, 4, 8, 16)).exponent()
    assert exponent.value == pytest.approx(0.5)
    assert exponent.low == pytest.approx(0.5) == exponent.high


def test_what_is_no_power_law_has_a_wide_interval():
    exponent = growth((x, 10 + x) for x in (1, 2, 4, 8, 16)).exponent()
    assert exponent.low < exponent.value < exponent.high and exponent.high - exponent.low > 0.1


def test_a_fixed_cost_and_that_of_one_more():
    assert growth((x, 10 + 2 * x) for x in (1, 2, 4)).line() == pytest.approx((10, 2))


def test_two_points_have_no_interval_and_one_has_no_exponent():
    exponent = growth([(1, 1.0), (2, 2.0)]).exponent()
    assert exponent.value == pytest.approx(1) and exponent.low is None and str(exponent) == "1.00"
    assert growth([(1, 1.0)]).exponent() is None
    assert growth([(0, 1.0), (1, 1.0)]).line() is None, "no face was found in the first"


def test_the_table_names_unstable_rows():
    points = (Point("1", 1, (1.0, 1.0, 1.01)), Point("2", 2, (1.0, 2.0, 3.0), {"wall s": 4.0}))
    found = Growth("sessions", points)
    head, first, second, last = table(found).splitlines()
    assert "cores of the server" in head and "wall s" in head
    assert "unstable" not in first and second.endswith("unstable")
    assert last.startswith("exponent 1.00; ") and last.endswith("for each session")
    once = Point("4", 4, (3.0,), agrees=True)
    assert once.stable and not Point("4", 4, (3.0,)).stable, "one round says nothing by itself"
    document = found.document()
    assert [row["stable"] for row in document["rows"]] == [True, False]
    assert document["exponent"]["value"] == pytest.approx(1) and document["line"]["each"] > 0


def test_names():
    assert parse_names("sessions,faces") == ["faces", "sessions"]
    with pytest.raises(UsageError, match="--only size: expected some of faces,resolution"):
        parse_names("faces,size")
