"""Statistics of repeated runs."""

import pytest

from affectstream.bench.distribution import (
    is_stable,
    percentile_of,
    runs_needed,
    spread,
    summarize,
)


def test_a_percentile_takes_so_many_runs_that_one_lies_above_it_with_99_percent_confidence():
    assert [runs_needed(p) for p in (90, 95, 99)] == [44, 90, 459]


def test_only_the_percentiles_that_the_number_carries_are_given():
    assert {k for k in summarize([0.001] * 43) if k.startswith("p")} == set()
    assert {k for k in summarize([0.001] * 44) if k.startswith("p")} == {"p90"}
    assert {k for k in summarize([0.001] * 459) if k.startswith("p")} == {"p90", "p95", "p99"}


def test_times_are_milliseconds():
    found = summarize([0.001, 0.002, 0.003])
    assert found == {
        **{"n": 3, "min": 1.0, "max": 3.0, "mean": 2.0, "median": 2.0},
        "variation": pytest.approx(0.4082),
    }


def test_percentiles_are_those_of_trtexec():
    ordered = [float(n) for n in range(1, 101)]
    assert percentile_of(ordered, 99) == 99.0
    assert percentile_of(ordered, 90) == 90.0
    assert percentile_of([1.0], 99) == 1.0


def test_three_windows_that_agree_are_stable():
    assert is_stable([[1.0], [1.05], [0.98]])
    assert not is_stable([[1.0], [1.2], [1.0]])
    assert not is_stable([[1.0], [1.0]])
    assert spread([[1.0, 5.0, 1.0], [2.0], [1.0]]) == 1.0
