"""A run over a folder that is killed again and again, and started again each time."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from affectstream.bench.batch.outputs import Contents, differing

_SHARE = 0.2
"""Of all recordings: at most so many are finished before the next kill, so that several hit one output."""
_LATER_S = 1.0
"""A kill comes up to so long after the recording that it waits for."""
_POLL_S = 0.05


@dataclass(slots=True)
class Kills:
    """What became of the killed runs."""

    kills: int = 0
    """Runs that a kill ended."""
    unfinished: int = 0
    """Recordings whose folder was without `run.json` after a kill, over all kills."""
    killed_runs_ended: int = 0
    """Outputs that came to their end, after some kills each."""
    rescored: int = 0
    """Recordings that were scored again although they were finished before a kill."""
    compared: int = 0
    """Files of an undisturbed run."""
    differing: list[str] = field(default_factory=list)
    """Files of outputs that came to their end that are not those of an undisturbed run."""

    @property
    def resumed_same_results(self) -> bool:
        """Whether each output that came to its end is that of an undisturbed run."""
        return not self.differing


def kill_again_and_again(
    line: Sequence[str],
    output: Path,
    kills: int,
    recordings: int,
    expected: Contents,
    contents: Callable[[Path], Contents],
) -> Kills:
    """Run the command `line`, which writes `output`, until it was killed `kills` times and then ends.

    A kill comes at a random instant after a random number of the `recordings` is finished, so it does not
    depend on how fast the machine is. `expected` is what an undisturbed run writes. An output that comes to
    its end is compared and removed, and the next run begins anew.
    """
    found, chance = Kills(compared=len(expected)), random.Random(0)
    finished: dict[Path, int] = {}
    while found.killed_runs_ended == 0 or found.kills < kills or output.exists():
        process = subprocess.Popen(line, stderr=subprocess.DEVNULL)
        if found.kills < kills:
            more = chance.randint(0, round(_SHARE * recordings))
            _wait_for(process, output, len(finished) + more)
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, _LATER_S))
            process.kill()
        process.wait()
        found.rescored += sum(_written(path) != before for path, before in finished.items())
        if process.returncode < 0:
            found.kills += 1
            finished = {path: _written(path) for path in output.rglob("run.json")}
            begun = {path.parent for path in output.rglob("*") if path.is_file()} - {output}
            found.unfinished += sum(not (folder / "run.json").exists() for folder in begun)
        else:
            found.killed_runs_ended += 1
            found.differing += differing(contents(output), expected)
            shutil.rmtree(output)
            finished = {}
    return found


def _wait_for(process: subprocess.Popen[bytes], output: Path, finished: int) -> None:
    """Wait until so many recordings are finished, or the process ends."""
    while process.poll() is None and len(list(output.rglob("run.json"))) < finished:
        time.sleep(_POLL_S)


def _written(path: Path) -> int:
    """When a file was written; 0 of one that is gone."""
    return path.stat().st_mtime_ns if path.exists() else 0
