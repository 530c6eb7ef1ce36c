"""Where the figures of a run go besides its log: TensorBoard, or Weights & Biases if asked."""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from affectstream.engines.extras import module_hint
from affectstream.stream.errors import OptionError

TRACKERS = ("auto", "none", "tensorboard", "wandb")
FOLDER = "tensorboard"


class RunLogger(Protocol):
    """Takes the figures of each epoch."""

    def figures(self, epoch: int, row: Mapping[str, float]) -> None:
        """Note them."""
        ...

    def close(self) -> None:
        """Write what is not yet written."""
        ...


def check_tracker(kind: str) -> None:
    """Raise `OptionError` for a board that there is not, or that is asked for and not installed."""
    if kind not in TRACKERS:
        raise OptionError(f"--track {kind}: expected one of {', '.join(TRACKERS)}")
    if kind in ("tensorboard", "wandb") and importlib.util.find_spec(kind) is None:
        raise OptionError(f"--track {kind} needs {kind!r}: {module_hint(kind)}")


def open_logger(
    kind: str, run: Path, name: str, config: Mapping[str, Any], report: Callable[[str], None]
) -> RunLogger | None:
    """The board `kind`, which `check_tracker` has let pass; None for ``none``.

    ``auto`` is TensorBoard where it is installed, and says so where it is not. Nothing leaves the
    machine except to Weights & Biases, when asked for by name. Raises `OptionError` where that will not
    have it.
    """
    if kind == "none":
        return None
    if kind == "wandb":
        return _Wandb(run, name, config)
    if importlib.util.find_spec("tensorboard") is None:
        report(
            f"no TensorBoard here, so figures go to log.csv alone ({module_hint('tensorboard')})"
        )
        return None
    return _TensorBoard(run)


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
            marker.write_text(secrets.token_hex(4))
        try:
            self._run = wandb.init(
                project="affectstream",
                name=name,
                dir=str(run),
                config=dict(config),
                id=marker.read_text().strip(),
                resume="allow",
            )
        except wandb.errors.Error as error:  # not logged in, no network
            said = str(error).strip().splitlines()[0]
            raise OptionError(
                f"--track wandb: {said} (WANDB_MODE=offline needs neither)"
            ) from error

    def figures(self, epoch: int, row: Mapping[str, float]) -> None:
        self._run.log(dict(row), step=epoch)

    def close(self) -> None:
        self._run.finish()
