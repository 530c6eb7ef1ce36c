"""What LoadGen writes into its summary, as values."""

from __future__ import annotations

import re
from typing import Any

_PERCENTILE = re.compile(r"([\d.]+) percentile latency \(ns\)")
_RATES = {
    "Completed samples per second": "completed_per_s",
    "Samples per second": "completed_per_s",
    "QPS w/o loadgen overhead": "completed_per_s",
    "Scheduled samples per second": "scheduled_per_s",
}
"""Names of LoadGen, and ours."""


def parse_summary(text: str) -> dict[str, Any]:
    """Validity, rates and latencies in ms (min, mean, max, percentiles) of ``mlperf_log_summary.txt``."""
    lines = [line.partition(":") for line in text.splitlines()]
    values = {key.strip(): value.strip() for key, colon, value in lines if colon}
    found: dict[str, Any] = {"valid": values.get("Result is") == "VALID"}
    found["conditions"] = {
        key.rpartition(" ")[0].lower(): value.lower() == "yes"
        for key, value in values.items()
        if key.endswith(" satisfied")
    }
    for name, ours in _RATES.items():
        if name in values:
            found[ours] = float(values[name])
    latency: dict[str, float] = {}
    for key, value in values.items():
        if matched := _PERCENTILE.fullmatch(key):
            latency[f"p{float(matched[1]):g}"] = _ms(value)
        elif key in ("Min latency (ns)", "Mean latency (ns)", "Max latency (ns)"):
            latency[key.partition(" ")[0].lower()] = _ms(value)
    return found | {"latency_ms": latency}


def _ms(nanoseconds: str) -> float:
    return round(float(nanoseconds) / 1e6, 3)
