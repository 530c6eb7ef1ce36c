"""Intervals and paired tests: against scikit-learn and scipy, and on cases whose answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, ttest_rel

sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="metrics need the 'train' extra")

from affectstream.train.metrics import classification, metric_title
from affectstream.train.statistics import (
    Groups,
    bootstrap,
    friedman,
    groups_of,
    holm,
    mcnemar,
    over_groups,
    paired_difference,
)

classes = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)


@given(classes)
@settings(max_examples=50)
def test_metrics_of_classes_are_scikit_learns(pairs):
    truth, guess = np.array(pairs).T
    f1 = {
        name: sklearn_metrics.f1_score(truth, guess, average=name, zero_division=0)
        for name in ("macro", "weighted")
    }
    uar = sklearn_metrics.recall_score(
        truth, guess, labels=np.unique(truth), average="macro", zero_division=0
    )
    assert classification(truth, guess) == pytest.approx(
        {
            "accuracy": sklearn_metrics.accuracy_score(truth, guess),
            "macro_f1": f1["macro"],
            "weighted_f1": f1["weighted"],
            "uar": uar,
        }
    )


def mean_of(values):
    return {"mean": float(values.mean())}


def test_an_interval_is_as_wide_as_theory_says():
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap(mean_of, values, draws=4000)["mean"]
    half = norm.ppf(0.975) * values.std() / np.sqrt(400)
    assert found.value == values.mean()
    assert found.high - found.value == pytest.approx(half, rel=0.1)
    assert found.value - found.low == pytest.approx(half, rel=0.1)


def test_the_same_seed_gives_the_same_interval():
    values = np.arange(30.0)
    assert bootstrap(mean_of, values, seed=3) == bootstrap(mean_of, values, seed=3)
    assert bootstrap(mean_of, values, seed=3) != bootstrap(mean_of, values, seed=4)


def test_drawing_participants_widens_the_interval():
    # 10 people of 40 samples each, who are right always or never: 10 facts, not 400.
    people = [f"p{n}" for n in range(10) for _ in range(40)]
    right = np.repeat([1.0, 0.0] * 5, 40)
    groups = groups_of(people)
    assert groups.by == "participant"
    by_people = bootstrap(mean_of, right, groups=groups)["mean"]
    by_sample = bootstrap(mean_of, right)["mean"]
    assert by_people.high - by_people.low > 4 * (by_sample.high - by_sample.low)


@pytest.mark.parametrize("people", [["a", None, "b"], ["a", "a", "a"], [None, None]])
def test_samples_are_drawn_if_participants_are_unknown_or_one(people):
    found = groups_of(people)
    assert found.by == "sample" and found.numbers.tolist() == list(range(len(people)))


def test_nothing_can_be_drawn_from_one_group():
    with pytest.raises(ValueError, match=r"1 group\(s\) to draw from, expected two or more"):
        bootstrap(mean_of, np.ones(3), groups=Groups(np.zeros(3, np.int64), "participant"))


def test_a_draw_without_the_metric_is_left_out():
    def share(truth):
        return {"of two": 0.5} if len(set(truth)) > 1 else {}

    found = bootstrap(share, np.array([0, 1]))["of two"]
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_differences_are_paired():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 500)
    first = np.where(rng.random(500) < 0.7, truth, 1 - truth)
    # Better in twenty samples and alike in all others: apart, their intervals overlap by far.
    second = first.copy()
    second[np.flatnonzero(first != truth)[:20]] = truth[first != truth][:20]
    found = paired_difference(classification, truth, first, second)["accuracy"]
    assert found.value == pytest.approx(0.04) and 0.02 < found.low < found.high < 0.06
    alone = [bootstrap(classification, truth, one)["accuracy"] for one in (first, second)]
    assert alone[0].high > alone[1].low
    same = paired_difference(classification, truth, first, first)["uar"]
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_mcnemar_counts_differing_samples_only():
    first = np.array([True] * 50 + [True] * 2 + [False] * 10)
    second = np.array([True] * 50 + [False] * 2 + [True] * 10)
    found = mcnemar(first, second)
    assert (found.first_only, found.second_only) == (2, 10)
    # Two or fewer heads of twelve, both ways: (1 + 12 + 66) * 2 / 4096.
    assert found.p == pytest.approx(158 / 4096)
    assert found.g == pytest.approx(10 / 12 - 0.5)
    assert mcnemar(first, first).p == 1.0


def test_participants_are_compared_in_pairs():
    rng = np.random.default_rng(2)
    groups = groups_of([f"p{n % 8}" for n in range(160)])
    first, second = rng.random(160) < 0.5, rng.random(160) < 0.8
    found = over_groups(first, second, groups)
    shares = [[one[groups.numbers == n].mean() for n in range(8)] for one in (first, second)]
    apart = np.subtract(shares[1], shares[0])
    assert found.count == 8 and found.mean == pytest.approx(apart.mean())
    assert found.t_p == pytest.approx(ttest_rel(shares[1], shares[0]).pvalue)
    assert found.d == pytest.approx(apart.mean() / apart.std(ddof=1))
    assert 0 < found.wilcoxon_p < 0.05


def test_degenerate_tests_have_plain_results():
    right, wrong = np.ones(6, bool), np.zeros(6, bool)
    assert over_groups(right, wrong, groups_of([None] * 6)) is None
    pairs = groups_of(list("aabbcc"))
    same = over_groups(right, right, pairs)
    assert (same.t_p, same.wilcoxon_p, same.d) == (1.0, 1.0, 0.0)
    alike = over_groups(wrong, right, pairs)
    assert alike.d is None and alike.t_p == 0.0 and alike.mean == 1.0


def test_holm_multiplies_by_the_tests_that_are_left():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.4]) == pytest.approx([0.9, 0.8]) and holm([0.7, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_folds_are_not_independent():
    rng = np.random.default_rng(0)
    first, second = rng.random(100), rng.random(100) + 0.05
    folds, people = (Groups(np.repeat(np.arange(10), 10), by) for by in ("fold", "participant"))
    of_folds, of_people = (over_groups(first, second, groups) for groups in (folds, people))
    assert of_folds.by == "fold" and of_folds.mean == of_people.mean
    assert of_folds.t_p > of_people.t_p  # what they share makes chance larger


def test_friedman_over_samples_is_cochrans_q():
    # Cochran (1950): from the counts of successes of each treatment and each row.
    right = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0], [0, 1, 0], [1, 0, 0]], float)
    columns, rows, k = right.sum(0), right.sum(1), right.shape[1]
    q = (k - 1) * (k * (columns**2).sum() - columns.sum() ** 2) / (k * rows.sum() - (rows**2).sum())
    found = friedman(right, groups_of([None] * 6))
    assert found.test == "Cochran's Q" and found.statistic == pytest.approx(q)
    assert found.critical_distance is None and sum(found.mean_ranks) == pytest.approx(6)
    same = friedman(np.ones((4, 3)), groups_of(list("abcd")))
    assert (same.p, same.mean_ranks) == (1.0, (2.0, 2.0, 2.0))


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("macro_f1", "macro F1"),
        ("uar", "UAR"),
        ("accuracy", "accuracy"),
        ("valid_loss", "valid loss"),
    ],
)
def test_metrics_are_named_as_people_write_them(name, title):
    assert metric_title(name) == title
