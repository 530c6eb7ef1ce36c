"""The rivals by name: one for each file of `adapters`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from affectstream.bench.rivals import adapters

OURS = "ours"


@dataclass(frozen=True, slots=True)
class Rival:
    """What an adapter states about itself; see `adapters`."""

    name: str
    """Of its file, as `--rival` takes it."""
    title: str
    computes: str
    requirements: tuple[str, ...]
    needs: str
    """What it downloads at run time; empty: nothing."""
    file: Path
    all_pictures_only: bool
    """Whether it reads the recording itself, so that we cannot choose the pictures."""


def rivals() -> dict[str, Rival]:
    """All rivals by name, and `OURS` first."""
    folder = Path(adapters.__path__[0])
    names = sorted(file.stem for file in folder.glob("*.py") if file.stem != "__init__")
    names.sort(key=lambda name: not name.startswith(OURS))
    return {name: _read(name, folder / f"{name}.py") for name in names}


def _read(name: str, file: Path) -> Rival:
    module = import_module(f"{adapters.__name__}.{name}")
    return Rival(
        name=name,
        title=module.NAME,
        computes=module.COMPUTES,
        requirements=module.REQUIREMENTS,
        needs=getattr(module, "NEEDS", ""),
        file=file,
        all_pictures_only=not hasattr(module, "open_look"),
    )
