"""How well the outputs of one FP16 implementation agree with FP32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from affectstream.engines.graphs.compare import MAX_DIFFERENCE, Agreement
from affectstream.engines.spec import Array, Engine


class Fp16Candidate:
    """Engines that compute the FP16 graphs, and how well their outputs agree with FP32 so far."""

    def __init__(self, name: str, engines: Mapping[str, Engine]) -> None:
        """`engines` are by role."""
        self.name, self.engines = name, engines
        self.agreements: dict[str, Agreement] = {}
        self.fp16_detector = Agreement()
        """Of hops with the detector in FP16 too: it shows why the detector stays in FP32. Not part of
        `passed`."""
        self.unmatched = 0
        """Readings of those hops that only one side has."""

    def add(self, part: str, expected: Array, found: Array) -> None:
        """Add rows of probabilities (N, C) of FP32 and FP16."""
        self.agreements.setdefault(part, Agreement()).add(expected, found)

    @property
    def passed(self) -> bool:
        """Whether every part agrees."""
        return all(a.passed for a in self.agreements.values())

    def metrics(self) -> dict[str, Any]:
        """All agreements, for JSON."""
        return {
            "passed": self.passed,
            "parts": {part: _metrics(agreement) for part, agreement in self.agreements.items()},
            "hops, were the detector in FP16": _metrics(self.fp16_detector),
            "unmatched_readings": self.unmatched,
        }

    def table(self) -> str:
        """All agreements, a line each."""
        lines = [f"  {'':32}{'inputs':>8}{'clear':>8}{'agree':>10}{'difference':>12}"]
        for part, agreement in self.agreements.items():
            lines.append(
                _line(part, agreement) + ("" if agreement.passed else "  <- out of limits")
            )
        lines.append(
            f"{_line('with an FP16 detector', self.fp16_detector)}, {self.fp16_detector.beyond} beyond "
            f"{MAX_DIFFERENCE}, {self.unmatched} on one side only"
        )
        return "\n".join(lines)


def _line(part: str, agreement: Agreement) -> str:
    a = agreement
    return f"  {part:32}{a.rows:8}{a.clear:8}{a.share:10.4%}{a.largest:12.2g}"


def _metrics(agreement: Agreement) -> dict[str, Any]:
    return {
        "inputs": agreement.rows,
        "clear": agreement.clear,
        "agreement": round(agreement.share, 5),
        "largest_difference": float(f"{agreement.largest:.3g}"),
        "beyond": agreement.beyond,
        "passed": agreement.passed,
    }
