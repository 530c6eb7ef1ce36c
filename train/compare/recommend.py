"""Which network to take, by stated rules about accuracy, latency and size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from affectstream.stream.errors import OptionError
from affectstream.train.compare.candidates import Candidate
from affectstream.train.compare.comparison import TaskComparison
from affectstream.train.metrics import LOWER_IS_BETTER

ALPHA = 0.05
ALIKE = 0.1
"""Latencies that differ by less than this share count as equal: they vary as much from run to run."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a network may cost."""

    hop_ms: float | None = None
    megabytes: float | None = None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One network, and the steps that led to it."""

    metric: str
    choice: str | None
    """None if no network is within the limits."""
    steps: tuple[str, ...]


def recommend(
    found: TaskComparison, candidates: Sequence[Candidate], metric: str | None, limits: Limits
) -> Recommendation:
    """Choose by these rules, at one task.

    1. Only networks within `limits` are considered. 2. Of these, the best by `metric` (None: the first), and
    every one that is not worse than it: it is worse if the interval of the difference excludes 0 and p,
    after Holm's correction, is below `ALPHA`. 3. Of these, the fastest; within `ALIKE` of it, the smallest.
    Raises `OptionError` for an unknown metric.
    """
    known = list(found.metrics[candidates[0].name])
    metric = metric or known[0]
    if metric not in known:
        raise OptionError(f"--metric {metric}: expected one of {', '.join(known)}")
    steps: list[str] = []
    left = _within(candidates, limits, steps)
    if not left:
        return Recommendation(metric, None, (*steps, "No network is left."))
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    value = {one.name: found.metrics[one.name][metric].value for one in left}
    best = max(left, key=lambda one: sign * value[one.name])
    steps.append(f"{best.name} has the best {metric}, {value[best.name]:.3f}.")
    alike = [one for one in left if one is best or not _is_worse(found, one, best, metric)]
    for one in left:
        if one is not best:
            verdict = "is not shown to be worse" if one in alike else "is worse"
            steps.append(f"{one.name} {verdict} ({value[one.name]:.3f}).")
    return Recommendation(metric, _cheapest(alike, best, steps), tuple(steps))


def _within(candidates: Sequence[Candidate], limits: Limits, steps: list[str]) -> list[Candidate]:
    left = []
    for one in candidates:
        reasons = []
        if one.cost is None and (limits.hop_ms or limits.megabytes):
            reasons.append("what it costs is not known: export it")
        elif one.cost is not None:
            if limits.hop_ms is not None and one.cost.hop_ms > limits.hop_ms:
                reasons.append(f"{one.cost.hop_ms:.1f} ms a hop, more than {limits.hop_ms:g}")
            size = one.cost.bytes / 1e6
            if limits.megabytes is not None and size > limits.megabytes:
                reasons.append(f"{size:.1f} MB, more than {limits.megabytes:g}")
        if reasons:
            steps.append(f"{one.name} is left out: {'; '.join(reasons)}.")
        else:
            left.append(one)
    return left


def _is_worse(found: TaskComparison, one: Candidate, best: Candidate, metric: str) -> bool:
    for pair, corrected in zip(found.pairs, found.corrected, strict=True):
        if {pair.first, pair.second} == {one.name, best.name}:
            i = pair.difference[metric]
            return not i.low <= 0 <= i.high and corrected is not None and corrected < ALPHA
    return False


def _cheapest(alike: Sequence[Candidate], best: Candidate, steps: list[str]) -> str:
    costs = {one.name: one.cost for one in alike if one.cost is not None}
    if len(alike) == 1:
        return best.name
    if len(costs) < len(alike):
        steps.append("What some of them cost is not known, so the best is taken: export the runs.")
        return best.name
    fastest = min(cost.hop_ms for cost in costs.values())
    near = {name: c for name, c in costs.items() if c.hop_ms <= (1 + ALIKE) * fastest}
    choice = min(near, key=lambda name: near[name].bytes)
    cost = near[choice]
    why = "the fastest" if len(near) == 1 else "the smallest of those that are equally fast"
    steps.append(
        f"Of the {len(alike)} that are not shown to differ, {choice} is {why}: {cost.hop_ms:.1f} ms a hop, "
        f"{cost.bytes / 1e6:.1f} MB."
    )
    return choice
