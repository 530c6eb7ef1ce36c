"""One recognizer for the tests of reports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from affectstream.stream.recognizer import Recognizer


@pytest.fixture(scope="package")
def recognizer() -> Iterator[Recognizer]:
    with Recognizer.open("pocket", device="cpu") as one:
        yield one
