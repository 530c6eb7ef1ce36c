"""What a run is asked for, and how it tells of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from affectstream.train.config import FitConfig
from affectstream.train.recipe import Recipe

Report = Callable[[str], None]
EpochCallback = Callable[[int, Mapping[str, float]], None]


def print_line(line: str) -> None:
    """Print at once, so that a run can be followed in a file too."""
    print(line, flush=True)


@dataclass(frozen=True, slots=True)
class Job:
    """What `fit` was asked for."""

    recipe: Recipe
    config: FitConfig
    data: Path
    run: Path
    resume: bool
    report: Report
    on_epoch: EpochCallback | None
    track: str


def format_metrics(figures: Mapping[str, float]) -> str:
    """Figures in a line."""
    return "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
