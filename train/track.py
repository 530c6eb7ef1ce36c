"""Where the figures of a run go besides its log: TensorBoard, or Weights & Biases if asked."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from affectstream.stream.errors import OptionError

TRACKS = ("auto", "none", "tensorboard", "wandb")
FOLDER = "tensorboard"


class Track(Protocol):
    """Takes the figures of each epoch."""

    def figures(self, epoch: int, row: Mapping[str, float]) -> None:
        """Note them."""
        ...

    def close(self) -> None:
        """Write what is not yet written."""
        ...


def open_track(
    kind: str, run: Path, name: str, config: Mapping[str, Any], report: Callable[[str], None]
) -> Track | None:
    """The track `kind`, one of `TRACKS`; None for ``none``.

    ``auto`` is TensorBoard where it is installed, and says so where it is not. Nothing leaves the
    machine except to Weights & Biases, when asked for by name. Raises `OptionError` for a track that
    there is not or that is not installed.
    """
    if kind not in TRACKS:
        raise OptionError(f"--track {kind!r}: expected one of {', '.join(TRACKS)}")
    if kind == "none":
        return None
    package = "wandb" if kind == "wandb" else "tensorboard"
    if importlib.util.find_spec(package) is None:
        if kind == "auto":
            report("no TensorBoard here, so figures go to log.csv alone (pip install tensorboard)")
            return None
        raise OptionError(f"--track {kind} needs {package!r}: pip install {package}")
    return _Wandb(run, name, config) if kind == "wandb" else _TensorBoard(run)


class _TensorBoard:
    def __init__(self, run: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(run / FOLDER)  # type: ignore[no-untyped-call]

    def figures(self, epoch: int, row: Mapping[str, float]) -> None:
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, epoch)  # type: ignore[no-untyped-call]
        self._writer.flush()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self._writer.close()  # type: ignore[no-untyped-call]


class _Wandb:
    def __init__(self, run: Path, name: str, config: Mapping[str, Any]) -> None:
        import wandb

        # One run there for each folder here, so that a resumed run goes on in its own curves.
        marker = run / "wandb.id"
        if not marker.exists():
            marker.write_text(wandb.util.generate_id())
        self._run = wandb.init(
            project="affectstream",
            name=name,
            dir=str(run),
            config=dict(config),
            id=marker.read_text().strip(),
            resume="allow",
        )

    def figures(self, epoch: int, row: Mapping[str, float]) -> None:
        self._run.log(dict(row), step=epoch)

    def close(self) -> None:
        self._run.finish()
