"""The precisions that a graph runs in."""

from __future__ import annotations

from typing import Literal

Precision = Literal["fp16", "fp32"]

FP32_ROLES = frozenset({"face_detector", "face_geometry"})
"""Roles that run in FP32 on a GPU too. FP16 moves a detector's landmarks by a hundredth of a pixel, and the
crop with them: enough to move the scores of a small face by more than the limit of 0.02 (`bench parity`).
The landmarks of `face_geometry` place the crop in the same way."""
