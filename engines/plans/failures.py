"""Turns NVIDIA's messages into errors that say which node failed, why, and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from affectstream.engines.errors import BuildError


class BuildCancelled(BuildError):
    """The build was cancelled; nothing was kept."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A node that a parser rejected."""

    node: int
    """Index in the graph; -1 when the fault is not in a node."""
    name: str
    operator: str
    message: str
    """The parser's own."""


_CAST_ADVICE = (
    "types are not converted automatically: put a Cast before it, or build from the FP32 graph with "
    "--precision fp16"
)
_EXPLANATIONS = (
    (r"of types? (\w+) and (\w+)", rf"its inputs are \1 and \2, and {_CAST_ADVICE}"),
    (
        r"must (?:have|be of) (?:the )?(?:same|identical)[\w ]*",
        f"its inputs have different types, and {_CAST_ADVICE}",
    ),
    (
        r"^false$|[Pp]lugin (?:not found|creator)|plugin registry",
        "this operator is not supported: replace it before the export, or remove it from the graph",
    ),
)


def parser_error(
    graph: str, parser: str, rejections: Sequence[Rejection], log: Sequence[str]
) -> BuildError:
    """The error for a graph that `parser`, such as ``tensorrt-rtx 1.7.1.116``, rejects.

    `log` has the errors of NVIDIA's log.
    """
    if missing := re.search(r"Failed to open file: (\S+)", "\n".join(log)):
        return BuildError(
            f"{graph}: its weights are in {missing[1]}, which was not found: put it beside the graph"
        )
    if not rejections:
        return BuildError(f"{graph}: {parser} rejects this graph and gives no reason")
    first = rejections[0]
    if "Failed to parse the ONNX model" in first.message:
        return BuildError(f"{graph}: this is not an ONNX graph, or is cut short: export it again")
    text = f"{graph}: {parser} rejects {_describe(first)}: {_explain(first.message)}"
    if others := [_describe(other) for other in rejections[1:]]:
        text += f" (and {', '.join(others[:4])}{', ...' if len(others) > 4 else ''})"
    return BuildError(text)


def build_error(graph: str, builder: str, log: Sequence[str]) -> BuildError:
    """The error for a build without a result. `log` has the errors of NVIDIA's log."""
    lines = [line for line in map(clean_message, log) if line]
    text = "\n".join(lines)
    if "BuildCanceled" in "".join(log):
        return BuildCancelled(f"{graph}: the build was cancelled; nothing was kept")
    if "within workspace limit" in text:
        return BuildError(
            f"{graph}: {builder} finds no kernels that need so little workspace: raise --workspace"
        )
    if turing := re.search(r"Cannot compile operation '([^']*)' for Turing[^:]*: ([^.]*)", text):
        return BuildError(
            f"{graph}: {builder} cannot build node {turing[1]!r} for compute capability 75 "
            f"({turing[2]}): leave 75 out of --compute-capability, and choose --device cuda:0 or cpu "
            "on such a card"
        )
    if internal := re.search(r"MyelinCheckException: (.*)", text):
        return BuildError(
            f"{graph}: {builder} fails with an internal error ({internal[1]}): export this part of the "
            "graph differently, or try --precision fp32"
        )
    return BuildError(
        f"{graph}: {builder} could not build it: {lines[-1] if lines else 'no reason given'}"
    )


def clean_message(message: str) -> str:
    """One message of NVIDIA's without source locations.

    It is empty for the error of a missing GPU, which building for another machine does not need.
    """
    lines = [line for line in message.splitlines() if "catchCudaError" not in line]
    text = " ".join(" ".join(lines).split())
    wrapped = re.search(r"Error Code \d+: [\w ]+ \((.*)\)\.?$", text)
    text = wrapped[1] if wrapped else text
    text = re.sub(r"\.?\s+In \w+ at \S+:\d+", "", text)
    return text.removeprefix("Assertion failed: ").strip()


def _describe(rejection: Rejection) -> str:
    if rejection.node < 0:
        return "the graph"
    name = f" {rejection.name!r}" if rejection.name else ""
    return f"node {rejection.node}{name} ({rejection.operator})"


def _explain(message: str) -> str:
    text = clean_message(message)
    for pattern, explanation in _EXPLANATIONS:
        if match := re.search(pattern, text):
            return match.expand(explanation)
    return text
