"""Computes the progress of a build from the phases that the builder reports."""

from __future__ import annotations

import threading


class Phases:
    """Nested phases with a number of steps each; a phase is part of one step of its parent.

    Steps are not equally long, so the fraction is a sign of life and no forecast. It never falls. Several
    threads may call.
    """

    def __init__(self) -> None:
        self._steps: dict[str, tuple[str | None, int, int]] = {}
        self._best = 0.0
        self._lock = threading.Lock()

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """`phase` starts and has `steps` steps."""
        with self._lock:
            self._steps[phase] = (parent, max(steps, 1), 0)

    def step(self, phase: str, step: int) -> None:
        """Step number `step` of `phase`, from 0, is done."""
        with self._lock:
            known = self._steps.get(phase)
            if known is None:  # not started; an exception cannot pass native code
                return
            parent, steps, _ = known
            self._steps[phase] = (parent, steps, min(step + 1, steps))

    def finish(self, phase: str) -> None:
        """`phase` has ended; it may start again."""
        with self._lock:
            self._steps.pop(phase, None)

    @property
    def fraction(self) -> float:
        """The fraction that is done, 0 to 1."""
        with self._lock:
            tops = [name for name, (parent, _, _) in self._steps.items() if parent is None]
            self._best = max([self._best, *(self._done(name) for name in tops)])
            return self._best

    def _done(self, phase: str) -> float:
        _, steps, done = self._steps[phase]
        inside = [
            self._done(name) for name, (parent, _, _) in self._steps.items() if parent == phase
        ]
        return min(1.0, (done + max(inside, default=0.0)) / steps)
