"""Which settings may change when a run is resumed."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.train.errors import RunError
from tests.support.toy_recipes import (
    Line,
    column,
    fit_quietly,
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.01}, "started with --learning-rate 0.05, now 0.01: give"),
        (
            {"seed": 4, "schedule": "constant"},
            "started with --seed 0, now 4; --schedule cosine, now constant",
        ),
        (
            {"batch_size": 16},
            r"started with 32 samples a step \(--batch-size times --accumulate\), now 16",
        ),
    ],
)
def test_settings_that_change_the_result_may_not_change(tmp_path, changes, message):
    config = replace(Line.defaults, epochs=1)
    fit_quietly(Line(), tmp_path, config)
    with pytest.raises(RunError, match=message):
        fit_quietly(Line(), tmp_path, replace(config, **changes), resume=True)


def test_a_finished_run_continues_with_more_epochs_and_other_batches(tmp_path):
    config = replace(Line.defaults, epochs=2)
    fit_quietly(Line(), tmp_path, config)
    more = replace(config, epochs=3, batch_size=16, accumulate=2)
    fit_quietly(Line(), tmp_path, more, resume=True)
    assert column(tmp_path, "epoch") == [0, 1, 2]
