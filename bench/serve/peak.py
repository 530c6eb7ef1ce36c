"""Searches for the most sessions that a server carries."""

from __future__ import annotations

from collections.abc import Callable

LARGEST = 256
"""The most that a server accepts."""


def search_peak(carries: Callable[[int], bool], start: int) -> int:
    """The largest number for which `carries` holds, or 0; it is called for few numbers, with `start` first.

    The number is doubled until it fails and halved until it holds; then the gap between both is halved.
    """
    low, high = 0, LARGEST + 1
    count = start
    while low < count < high:
        if carries(count):
            low = count
            count = min(2 * count, LARGEST)
        else:
            high = count
            count = count // 2
        if low and high <= LARGEST:
            break
    while high - low > 1 and low:
        middle = (low + high) // 2
        if carries(middle):
            low = middle
        else:
            high = middle
    return low
