"""The log of an epoch's steps: read now and then, it finds what a reading after each step finds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.train.fit.step_log import NotFinite, StepLog


def log_of(losses, norms, every, limit=0):
    log = StepLog(limit, every)
    for index, (loss, norm) in enumerate(zip(losses, norms, strict=True)):
        log.push("loss", index, torch.tensor(loss))
        log.push("norm", index, torch.tensor(norm))
    log.read()
    return log


@pytest.mark.parametrize("every", [1, 2, 32])
def test_losses_add_up_however_often_they_are_read(every):
    log = log_of([1.0, 2.0, 4.0], [1.0, 1.0, 1.0], every)
    assert (log.total, log.newest) == (7.0, 4.0)


@pytest.mark.parametrize("every", [1, 2, 32])
@pytest.mark.parametrize(
    ("losses", "norms", "message", "index"),
    [
        ([1.0, float("nan"), float("nan")], [1.0, 1.0, 1.0], "the loss is nan", 1),
        ([1.0, 1.0, float("nan")], [1.0, float("inf"), 1.0], "the gradient is inf", 1),
    ],
)
def test_the_first_number_that_is_not_finite_is_named(every, losses, norms, message, index):
    with pytest.raises(NotFinite, match=message) as raised:
        log_of(losses, norms, every)
    assert (raised.value.index, raised.value.scaled) == (index, False)


def test_a_loss_scale_may_skip_as_many_steps_as_its_limit():
    inf = float("inf")
    assert log_of([1.0] * 3, [inf, inf, 1.0], 32, limit=2).skipped == 0
    with pytest.raises(NotFinite, match="3 steps in a row") as raised:
        log_of([1.0] * 3, [inf, inf, inf], 32, limit=2)
    assert raised.value.scaled


@given(st.lists(st.sampled_from([1.0, 1e4, math.inf, math.nan]), max_size=60), st.integers(0, 5))
def test_only_consecutive_skipped_steps_count(norms, most):
    log = StepLog(most, 1)
    for index, norm in enumerate(norms):
        newest = norms[max(0, index - most) : index + 1]
        ends = len(newest) == most + 1 and not any(map(math.isfinite, newest))
        try:
            log.push("norm", index, torch.tensor(norm))
        except NotFinite:
            assert ends
        else:
            assert not ends
