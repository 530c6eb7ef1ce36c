"""What became of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from affectstream.stream.offline.failure import Failure

Status = Literal["complete", "incomplete", "failed"]
"""`incomplete`: there are results, up to where the recording is cut off or the run was interrupted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recording."""

    name: str
    """The folder of its results, relative to the output."""
    status: Status
    failure: Failure | None = None
    """Why it is not complete."""
    media_s: float = 0.0
    done_before: bool = False
    """An earlier run has scored it."""

    @property
    def finished(self) -> bool:
        """Whether another run would find nothing to do: it is complete, or the input itself is damaged."""
        return self.failure is None or self.failure.kind == "input"
