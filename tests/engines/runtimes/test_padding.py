"""The shapes that a batch is padded to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.engines.errors import EngineError
from affectstream.engines.graphs.batching import BATCH_SIZES
from affectstream.engines.runtimes.cuda.padding import BatchPadder, Bounds, BuiltProfile
from affectstream.engines.spec import TensorSpec

X = {"x": TensorSpec("x", ("N", 3), np.dtype(np.float32))}


def batches(low: int, usual: int, high: int) -> BuiltProfile:
    return {"x": Bounds((low, 3), (usual, 3), (high, 3))}


def padded(padder: BatchPadder, rows: int) -> tuple[int, int | None]:
    found = padder.pad({"x": (rows, 3)})
    return found.profile, found.batch


@given(st.integers(1, 64), st.integers(0, 63), st.integers(1, 80))
def test_a_batch_is_padded_no_further_than_the_next_slot_or_the_plan_s_end(
    low: int, more: int, rows: int
) -> None:
    high = low + more
    padder = BatchPadder("plan", X, [batches(low, low, high)])
    if rows > high:
        with pytest.raises(EngineError, match="the plan was built for"):
            padder.pad({"x": (rows, 3)})
        return
    _, size = padded(padder, rows)
    assert size is not None and max(rows, low) <= size <= high
    smaller = [s for s in BATCH_SIZES if max(rows, low) <= s < size]
    assert not smaller
    assert size in BATCH_SIZES or size == high


@given(st.integers(1, 64))
def test_the_same_rows_meet_the_same_shapes_that_were_warmed(rows: int) -> None:
    padder = BatchPadder("plan", X, [batches(1, 1, 1), batches(1, 8, 8), batches(1, 16, 64)])
    assert padder.pad({"x": (rows, 3)}) in set(padder.usual())


def test_the_tightest_profile_that_has_room_is_taken_whatever_their_order() -> None:
    padder = BatchPadder("plan", X, [batches(1, 8, 64), batches(1, 1, 1), batches(1, 4, 8)])
    assert [padded(padder, n) for n in (1, 2, 5, 9, 64)] == [
        (1, 1),
        (2, 2),
        (2, 8),
        (0, 16),
        (0, 64),
    ]
    assert [(f.profile, f.batch) for f in padder.usual()] == [
        (1, 1),
        (2, 2),
        (2, 4),
        (2, 8),
        (0, 16),
        (0, 32),
        (0, 64),
    ]


def test_free_axes_beside_the_batch_stay_as_they_are_and_have_to_lie_within_the_profile() -> None:
    spec = {"image": TensorSpec("image", (1, 3, "h", "w"), np.dtype(np.uint8))}
    bounds = Bounds((1, 3, 32, 32), (1, 3, 384, 384), (1, 3, 640, 640))
    padder = BatchPadder("detector", spec, [{"image": bounds}])
    found = padder.pad({"image": (1, 3, 100, 640)})
    assert found.shapes == (("image", (1, 3, 100, 640)),) and found.batch is None
    assert [f.shapes[0][1] for f in padder.usual()] == [(1, 3, 384, 384)]
    with pytest.raises(EngineError, match=r"\(1, 3, 32, 32\) to \(1, 3, 640, 640\)"):
        padder.pad({"image": (1, 3, 100, 641)})


def test_inputs_have_one_number_of_rows_and_share_the_padding() -> None:
    inputs = {**X, "mask": TensorSpec("mask", ("N",), np.dtype(bool))}
    profile = {**batches(2, 4, 8), "mask": Bounds((1,), (4,), (6,))}
    padder = BatchPadder("plan", inputs, [profile])
    assert dict(padder.pad({"x": (5, 3), "mask": (5,)}).shapes) == {"x": (6, 3), "mask": (6,)}
    assert dict(padder.pad({"x": (1, 3), "mask": (1,)}).shapes) == {"x": (2, 3), "mask": (2,)}
    with pytest.raises(EngineError, match="different numbers of rows"):
        padder.rows({"x": (5, 3), "mask": (4,)})


@pytest.mark.parametrize("rows", [0, 9])
def test_no_rows_and_too_many_are_refused_with_the_bounds(rows: int) -> None:
    with pytest.raises(
        EngineError, match=r"plan: the inputs are .* built for x \(1, 3\) to \(8, 3\): split"
    ):
        BatchPadder("plan", X, [batches(1, 1, 8)]).pad({"x": (rows, 3)})


def test_a_plan_of_fixed_shapes_has_one_shape() -> None:
    spec = {"x": TensorSpec("x", (4, 3), np.dtype(np.float32))}
    padder = BatchPadder("plan", spec, [batches(4, 4, 4)])
    assert list(padder.usual()) == [padder.pad({"x": (4, 3)})]
