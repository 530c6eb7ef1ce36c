"""What is lost without a modality, its share of all that is lost, and the intervals of both."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.train.evaluate.bundle.importance import _Losses, _of_modality
from affectstream.train.files import encode_json
from affectstream.train.statistics import Groups
from affectstream.train.tasks import Task


def test_shares_of_what_is_lost_have_intervals_and_can_be_written():
    truth = np.arange(60) % 2
    right, wrong = np.eye(2)[truth], np.eye(2)[1 - truth]
    half = np.where((np.arange(60) % 4 < 2)[:, None], right, wrong)
    task = Task("emotion", ("neutral", "joy"))
    losses = _Losses(task, truth, right, [[half], [right, right]])
    found = losses.found()
    assert found == {"lost/0": 0.5, "lost/1": 0.0, "percent/0": 100.0, "percent/1": 0.0}
    intervals = losses.intervals(Groups(np.arange(60), "sample"), np.arange(60))
    assert intervals["lost/0"].low < 0.5 < intervals["lost/0"].high
    one = _of_modality("video", 0, [(found, intervals), (found, intervals)])
    assert one.ablation_percent == 100.0 and set(one.intervals) == {
        "ablation", "permutation", "ablation_percent", "permutation_percent"
    }  # fmt: skip
    assert b"ablation_percent" in encode_json(one)


def test_nothing_is_lost_without_any_share():
    truth = np.arange(8) % 2
    right = np.eye(2)[truth]
    losses = _Losses(Task("emotion", ("neutral", "joy")), truth, right, [[right], [right]])
    assert set(losses.found()) == {"lost/0", "lost/1"}
