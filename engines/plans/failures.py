"""NVIDIA's messages in plain words: which node, which operator, why, and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from affectstream.engines.errors import BuildError


class BuildCancelled(BuildError):
    """The build was told to stop, and stopped; nothing was kept of it."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A node that a parser did not take, in the parser's own words."""

    node: int
    """Its number in the graph, -1 where the fault is not in a node."""
    name: str
    operator: str
    said: str


_WHY = (
    (
        r"of types? (\w+) and (\w+)",
        r"\1 and \2 meet in it, and nothing is converted by itself: put a Cast before it, or build "
        "from the FP32 graph with --precision fp16",
    ),
    (
        r"must (?:have|be of) (?:the )?(?:same|identical)[\w ]*",
        "its inputs differ in type, and nothing is converted by itself: put a Cast before it, or build "
        "from the FP32 graph with --precision fp16",
    ),
    (
        r"^false$|[Pp]lugin (?:not found|creator)|plugin registry",
        "this operator is not supported: replace it before the export, or take it out of the graph",
    ),
)


def rejected(
    graph: str, parser: str, rejections: Sequence[Rejection], said: Sequence[str]
) -> BuildError:
    """The error for a graph that `parser`, such as ``tensorrt-rtx 1.7.1.116``, did not take; `said` are
    the errors in its log."""
    if missing := re.search(r"Failed to open file: (\S+)", "\n".join(said)):
        return BuildError(
            f"{graph}: its weights are in {missing[1]}, which was not found: put it beside the graph"
        )
    if not rejections:
        return BuildError(f"{graph}: {parser} does not take this graph and gives no reason")
    first = rejections[0]
    if "Failed to parse the ONNX model" in first.said:
        return BuildError(f"{graph}: this is not an ONNX graph, or is cut short: export it again")
    text = f"{graph}: {parser} rejects {_place(first)}: {_reason(first.said)}"
    if others := [_place(other) for other in rejections[1:]]:
        text += f" (and {', '.join(others[:4])}{', ...' if len(others) > 4 else ''})"
    return BuildError(text)


def failed(graph: str, builder: str, said: Sequence[str]) -> BuildError:
    """The error for a build that ended without a plan; `said` are the errors in the log."""
    lines = [line for line in map(plain, said) if line]
    everything = "\n".join(lines)
    if "BuildCanceled" in "".join(said):
        return BuildCancelled(f"{graph}: the build was cancelled; nothing was kept of it")
    if "within workspace limit" in everything:
        return BuildError(
            f"{graph}: {builder} finds no kernels for it that need so little workspace: "
            "raise --workspace"
        )
    if turing := re.search(
        r"Cannot compile operation '([^']*)' for Turing[^:]*: ([^.]*)", everything
    ):
        return BuildError(
            f"{graph}: {builder} cannot build node {turing[1]!r} for compute capability 75 "
            f"({turing[2]}): leave 75 out of --compute-capability, and choose --device cuda:0 or cpu "
            "where such a card is"
        )
    if inside := re.search(r"MyelinCheckException: (.*)", everything):
        return BuildError(
            f"{graph}: {builder} stumbles over it, by a fault of its own ({inside[1]}): export the part in "
            "question otherwise, or try --precision fp32"
        )
    return BuildError(
        f"{graph}: {builder} could not build it: {lines[-1] if lines else 'no reason'}"
    )


def plain(said: str) -> str:
    """One line of NVIDIA's, less the places in their own source, and nothing where there is no GPU to
    ask (which building for another machine does not need)."""
    lines = [line for line in said.splitlines() if "catchCudaError" not in line]
    text = " ".join(" ".join(lines).split())
    wrapped = re.search(r"Error Code \d+: [\w ]+ \((.*)\)\.?$", text)
    text = wrapped[1] if wrapped else text
    text = re.sub(r"\.?\s+In \w+ at \S+:\d+", "", text)
    return text.removeprefix("Assertion failed: ").strip()


def _place(rejection: Rejection) -> str:
    if rejection.node < 0:
        return "the graph"
    name = f" {rejection.name!r}" if rejection.name else ""
    return f"node {rejection.node}{name} ({rejection.operator})"


def _reason(said: str) -> str:
    text = plain(said)
    for pattern, words in _WHY:
        if found := re.search(pattern, text):
            return found.expand(words)
    return text
