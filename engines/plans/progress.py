"""How far a build is, from the phases that the builder reports."""

from __future__ import annotations

import threading


class Phases:
    """Nested phases, each of so many steps; a phase is a part of one step of its parent.

    The builder calls from several threads. Its steps are not equally long, so the fraction is a sign
    of life rather than a forecast; it never goes back.
    """

    def __init__(self) -> None:
        self._steps: dict[str, tuple[str | None, int, int]] = {}
        self._best = 0.0
        self._lock = threading.Lock()

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """`phase` begins and has `steps` steps."""
        with self._lock:
            self._steps[phase] = (parent, max(steps, 1), 0)

    def step(self, phase: str, step: int) -> None:
        """Step number `step` of `phase`, from 0, is done."""
        with self._lock:
            known = self._steps.get(phase)
            if known is None:  # never begun: native code cannot be told by an exception
                return
            parent, steps, _ = known
            self._steps[phase] = (parent, steps, min(step + 1, steps))

    def finish(self, phase: str) -> None:
        """`phase` is over; it may come again."""
        with self._lock:
            self._steps.pop(phase, None)

    @property
    def fraction(self) -> float:
        """Done of all, 0 to 1."""
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
