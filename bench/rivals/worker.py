"""Runs one rival in the Python of its environment, where only the standard library can be relied on.

    python worker.py ADAPTER CLIP BUNDLE HZ

It writes one line of JSON when it is ready, and one for each line that it reads: seconds of wall time and of
processor time of one pass over the recording, the peak of its memory, and its counts.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

Counts = dict[str, int]


def main(adapter: str, clip: str, bundle: str, hz: float) -> None:
    """Serve passes until standard input ends. `hz` is pictures a second to look at; 0: all of them."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the rival prints is no answer

    def answer(document: dict[str, Any]) -> None:
        answers.write(json.dumps(document) + "\n")
        answers.flush()

    try:
        module = runpy.run_path(adapter)
        run: Callable[[], Counts]
        if "open_score" in module:
            run = module["open_score"](clip, bundle)
        else:
            run = partial(watch, clip, module["open_look"](bundle), hz)
        run()  # the first pass does not count
        answer({"ready": True, "versions": _versions(module["REQUIREMENTS"])})
        for _ in sys.stdin:
            answer(_measure(run))
    except Exception as error:  # a rival that fails is a row of the table, whatever it raises
        answer({"failed": f"{type(error).__name__}: {error}".splitlines()[0][:300]})
        raise


def watch(clip: str, look: Callable[[Any], int], hz: float) -> Counts:
    """Decode `clip` with OpenCV, and look at all pictures, or at the first after each point of a grid.

    Its points are 1 / `hz` seconds apart; 0: all pictures.
    """
    import cv2

    capture = cv2.VideoCapture(clip)
    if not capture.isOpened():
        raise OSError(f"OpenCV cannot open {clip}")
    frames = looks = faces = 0
    due_ms = 0.0
    while capture.grab():
        frames += 1
        at_ms = capture.get(cv2.CAP_PROP_POS_MSEC)
        if hz and at_ms < due_ms - 1e-3:
            continue
        due_ms = (int(at_ms * hz / 1000 + 1e-6) + 1) * 1000 / hz if hz else 0.0
        _, picture = capture.retrieve()
        looks += 1
        faces += look(picture)
    capture.release()
    return {"frames": frames, "looks": looks, "faces": faces}


def _measure(run: Callable[[], Counts]) -> dict[str, Any]:
    wall, cpu = time.perf_counter(), _cpu_s()
    counts = run()
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": _cpu_s() - cpu,
        "peak_mb": _peak_mb(),
        **counts,
    }


def _cpu_s() -> float:
    own, children = (
        resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return sum(usage.ru_utime + usage.ru_stime for usage in (own, children))


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def _versions(requirements: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for requirement in requirements:
        name = requirement.partition("==")[0].partition("<")[0]
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, whose names are none of the rival's
    adapter_file, recording, bundle_name, rate = sys.argv[1:]
    main(adapter_file, recording, bundle_name, float(rate))
