"""Which network to take, by stated rules about accuracy, latency and size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

from affectstream.stream.errors import OptionError
from affectstream.train.compare.candidates import Candidate
from affectstream.train.compare.comparison import TaskComparison
from affectstream.train.metrics import LOWER_IS_BETTER

ALIKE = 0.1
"""Latencies that differ by less than this share count as equal: they vary as much from run to run."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a network may cost, and what may be lost for a cheaper one."""

    hop_ms: float | None = None
    megabytes: float | None = None
    margin: float = 0.03
    """Loss of the metric against the best, that a cheaper network must be shown not to exceed."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One network, and the steps that led to it."""

    metric: str
    choice: str | None
    """None if no network is within the rules."""
    steps: tuple[str, ...]


def recommend(
    found: TaskComparison, candidates: Sequence[Candidate], metric: str | None, rules: Rules
) -> Recommendation:
    """Choose by these rules, at one task.

    1. Only networks within the limits of `rules` are considered. 2. Of these, the best by `metric` (None: the
    first), and every one whose loss against it is, by the 95 % interval of their difference, at most the
    margin. A cheaper network that may be much worse, because there are few people, is not taken. 3. Of these,
    the fastest; within `ALIKE` of it, the smallest. Raises `OptionError` for an unknown metric.
    """
    known = list(found.metrics[candidates[0].name])
    metric = metric or known[0]
    if metric not in known:
        raise OptionError(f"--metric {metric}: expected one of {', '.join(known)}")
    steps: list[str] = []
    left = _within(candidates, rules, steps)
    if not left:
        return Recommendation(metric, None, (*steps, "No network is left."))
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    value = {one.name: found.metrics[one.name][metric].value for one in left}
    best = max(left, key=lambda one: sign * value[one.name])
    steps.append(f"{best.name} has the best {metric}, {value[best.name]:.3f}.")
    alike = [best]
    for one in left:
        if one is best:
            continue
        loss = _largest_loss(found, one.name, best.name, metric, sign)
        if loss <= rules.margin:
            alike.append(one)
            steps.append(
                f"{one.name} ({value[one.name]:.3f}) is worse by {max(0, loss):.3f} at most."
            )
        else:
            steps.append(
                f"{one.name} ({value[one.name]:.3f}) may be worse by {loss:.3f}, more than the margin of "
                f"{rules.margin:g}."
            )
    choice = _cheapest(alike, best, steps)
    if found.commonest is not None:
        accuracy = found.metrics[choice]["accuracy"]
        if accuracy.low <= found.commonest:
            steps.append(
                f"But always saying the commonest class has an accuracy of {found.commonest:.3f}: {choice} "
                f"({accuracy}) is not shown to be better."
            )
    steps += _contradictions(found, choice)
    steps += [
        f"But {one.name} was taught with {one.taught_in_doubt} coded recordings: its figures count only if "
        "none of the samples is from them."
        for one in left
        if one.taught_in_doubt
    ]
    return Recommendation(metric, choice, tuple(steps))


def _contradictions(found: TaskComparison, choice: str) -> Iterator[str]:
    """Where `choice` has the higher accuracy over all samples, but not in the mean of people or folds."""
    for pair in found.pairs:
        if choice not in (pair.first, pair.second) or pair.paired is None:
            continue
        if "accuracy" in pair.difference:
            sign = 1.0 if pair.second == choice else -1.0
            over_samples, over_units = pair.difference["accuracy"].value, pair.paired.mean
            if sign * over_samples > 0 > sign * over_units:
                other = pair.first if pair.second == choice else pair.second
                yield (
                    f"But in the mean over {pair.paired.by}s {other} is better, by {abs(over_units):.3f} of "
                    f"accuracy: the {pair.paired.by}s for whom {choice} is better have most of the samples."
                )


def _largest_loss(found: TaskComparison, one: str, best: str, metric: str, sign: float) -> float:
    """By how much `one` may be worse than `best`: the upper end of the interval of their difference."""
    for pair in found.pairs:
        if {pair.first, pair.second} == {one, best}:
            difference = pair.difference[metric]
            ends = (difference.low, difference.high)
            toward_best = sign if pair.second == best else -sign
            return max(toward_best * end for end in ends)
    return inf


def _within(candidates: Sequence[Candidate], rules: Rules, steps: list[str]) -> list[Candidate]:
    left = []
    for one in candidates:
        reasons = []
        if one.cost is None and (rules.hop_ms or rules.megabytes):
            reasons.append(
                "what it costs is not known: export it and compare the bundle; of folds keep what is "
                "measured ('train folds --keep')"
            )
        elif one.cost is not None:
            if rules.hop_ms is not None and one.cost.hop_ms > rules.hop_ms:
                reasons.append(f"{one.cost.hop_ms:.1f} ms a hop, more than {rules.hop_ms:g}")
            size = one.cost.bytes / 1e6
            if rules.megabytes is not None and size > rules.megabytes:
                reasons.append(f"{size:.1f} MB, more than {rules.megabytes:g}")
        if reasons:
            steps.append(f"{one.name} is left out: {'; '.join(reasons)}.")
        else:
            left.append(one)
    return left


def _cheapest(alike: Sequence[Candidate], best: Candidate, steps: list[str]) -> str:
    costs = {one.name: one.cost for one in alike if one.cost is not None}
    if len(alike) == 1:
        return best.name
    if len(costs) < len(alike):
        steps.append(
            "What some of them cost is not known, so the best is taken: export runs and compare the bundles; "
            "of folds keep what is measured ('train folds --keep')."
        )
        return best.name
    if len({cost.machine for cost in costs.values()}) > 1:
        steps.append(
            "What they cost was measured on different machines, so the best is taken: evaluate them on one."
        )
        return best.name
    fastest = min(cost.hop_ms for cost in costs.values())
    near = {name: c for name, c in costs.items() if c.hop_ms <= (1 + ALIKE) * fastest}
    choice = min(near, key=lambda name: near[name].bytes)
    cost = near[choice]
    why = "the fastest" if len(near) == 1 else "the smallest of those that are equally fast"
    steps.append(
        f"Of these {len(alike)}, {choice} is {why}: {cost.hop_ms:.1f} ms a hop, "
        f"{cost.bytes / 1e6:.1f} MB."
    )
    return choice
