"""A batch on a Ray cluster of two nodes, of which one is killed in the middle."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from affectstream.bench.batch.outputs import PROCESS, TIMES, contents, differing
from affectstream.engines.errors import UsageError
from affectstream.engines.extras import install_hint
from affectstream.stream.results.scored import RUN

_SHARE = 0.3
"""Of all recordings: so many are finished when the node is killed."""
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class KilledNode:
    """What became of a batch whose cluster lost a node."""

    recordings: int
    """Those of an undisturbed run, damaged ones among them."""
    finished_before: int
    """Recordings that were finished when the node was killed."""
    lost: int
    """Recordings without results at the end."""
    scored_twice: int
    """Recordings that were finished before and have other results, by their times."""
    exit_code: int
    differing: list[str]
    """Files that are not those of an undisturbed run; see `outputs`."""


def kill_a_node(line: Sequence[str], output: Path, undisturbed: Path, cores: int = 1) -> KilledNode:
    """Run the command `line`, which writes `output`, on two nodes with `cores` each, and kill one.

    `undisturbed` is the output of the same command without a cluster, in a folder of the same name. Raises
    `UsageError` without Ray.
    """
    # Ray would send statistics about its use.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        from ray.cluster_utils import Cluster
    except ModuleNotFoundError as error:
        raise UsageError(f"--killed-node needs Ray: {install_hint('cluster')}") from error
    ignored = (*TIMES, *PROCESS)
    expected = contents(undisturbed, ignored)
    recordings = {name for name in expected if name.endswith(f"/{RUN}")}
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": cores})
    try:
        node = nodes.add_node(num_cpus=cores)
        nodes.wait_for_nodes()
        process = subprocess.Popen([*line, "--cluster", nodes.address], stderr=subprocess.DEVNULL)
        try:
            while process.poll() is None and len(_finished(output)) < _SHARE * len(recordings):
                time.sleep(_POLL_S)
            before = _finished(output)
            if process.poll() is not None:
                raise UsageError(
                    f"the run ended with {process.returncode} before a node could be killed: use a larger "
                    "--count"
                )
            nodes.remove_node(node, allow_graceful=False)
            code = process.wait()
        finally:
            process.kill()
    finally:
        nodes.shutdown()
    after = _finished(output)
    return KilledNode(
        recordings=len(recordings),
        finished_before=len(before),
        lost=len(recordings - set(after)),
        scored_twice=sum(after.get(name) != at for name, at in before.items()),
        exit_code=code,
        differing=differing(contents(output, ignored), expected),
    )


def _finished(output: Path) -> dict[str, int]:
    """When the results of each recording were finished."""
    return {
        path.relative_to(output).as_posix(): path.stat().st_mtime_ns for path in output.rglob(RUN)
    }
