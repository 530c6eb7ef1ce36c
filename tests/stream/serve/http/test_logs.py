"""The limit on log lines that clients can cause."""

from __future__ import annotations

import logging

import pytest

pytest.importorskip("uvicorn", reason="the server comes with the 'serve' extra")

from affectstream.stream.serve.http import logs


def test_a_flood_of_equal_lines_is_cut_short_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: now_s)
    limit, passed = logs.LogLimit(), list[str]()

    def log(line: int, text: str) -> None:
        record = logging.LogRecord("any", logging.ERROR, "file.py", line, "%s", (text,), None)
        if limit.filter(record):
            passed.append(record.getMessage())

    for _ in range(1000):
        log(1, "cannot decode")
    assert passed == ["cannot decode"] * 20
    log(2, "another line of code")
    now_s += 60
    log(1, "cannot decode")
    assert passed[20:] == ["another line of code", "cannot decode (980 more left out)"]
