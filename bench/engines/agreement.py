"""How the answers of one way to compute the FP16 graphs agree with FP32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from affectstream.engines.compare import Agreement
from affectstream.engines.spec import Array, Engine


class Fp16Candidate:
    """One way to compute the FP16 graphs, and how its answers agree with FP32 so far."""

    def __init__(self, name: str, engines: Mapping[str, Engine]) -> None:
        self.name, self.engines = name, engines
        self.agreements: dict[str, Agreement] = {}
        self.recropped = Agreement()
        """Hops of recordings if the detector were in FP16 too: why it is not. Not part of the verdict."""
        self.unmatched = 0
        """Readings of those that are on one side only."""

    def add(self, what: str, expected: Array, found: Array) -> None:
        """Rows of probabilities (N, C) of both."""
        self.agreements.setdefault(what, Agreement()).add(expected, found)

    @property
    def passed(self) -> bool:
        """Whether all agree."""
        return all(a.passed for a in self.agreements.values())

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "passed": self.passed,
            "parts": {what: _figures(agreement) for what, agreement in self.agreements.items()},
            "hops, were the detector in FP16": _figures(self.recropped),
            "unmatched_readings": self.unmatched,
        }


def _figures(agreement: Agreement) -> dict[str, Any]:
    return {
        "inputs": agreement.rows,
        "clear": agreement.decided,
        "agreement": round(agreement.share, 5),
        "largest_difference": float(f"{agreement.largest:.3g}"),
        "beyond": agreement.beyond,
        "passed": agreement.passed,
    }
