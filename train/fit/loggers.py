"""Where a run reports its progress: lines for the user, metrics for TensorBoard or Weights & Biases."""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

from affectstream.engines.extras import module_hint
from affectstream.stream.errors import OptionError
from affectstream.train.errors import first_line

Tracker = Literal["auto", "none", "tensorboard", "wandb"]
FOLDER = "tensorboard"
_TAGS = {"loss": "loss/train", "valid_loss": "loss/valid", "rate": "learning rate"}
"""TensorBoard shows what has the same name before the slash side by side; metrics are of split valid."""

Report = Callable[[str], None]
"""Takes one line for the user."""
print_line = partial(print, flush=True)
"""At once, so that a run can also be followed in a file."""
LogEpoch = Callable[[int, Mapping[str, float]], None]
"""Takes the number of an epoch and its metrics."""


def format_metrics(metrics: Mapping[str, float]) -> str:
    """All metrics in one line."""
    return "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def check_tracker(kind: Tracker) -> None:
    """Raise `OptionError` for a tracker that is not installed."""
    if kind in ("tensorboard", "wandb") and importlib.util.find_spec(kind) is None:
        raise OptionError(f"--track {kind} needs {kind!r}: {module_hint(kind)}")


@contextmanager
def open_logger(
    kind: Tracker, run: Path, name: str, config: Mapping[str, Any], report: Report
) -> Iterator[LogEpoch]:
    """Log the metrics of each epoch to the tracker `kind`, which `check_tracker` accepted.

    ``auto`` is TensorBoard where it is installed. Nothing leaves the machine except to Weights & Biases.
    Raises `OptionError` where that refuses.
    """
    if kind == "auto" and importlib.util.find_spec("tensorboard") is None:
        report(
            f"TensorBoard is not installed, so metrics go only to log.csv ({module_hint('tensorboard')})"
        )
        kind = "none"
    if kind == "none":
        yield lambda epoch, metrics: None
    elif kind == "wandb":
        import wandb

        # One run there for each folder here, so that a resumed run continues its own curves.
        marker = run / "wandb.id"
        if not marker.exists():
            marker.write_text(secrets.token_hex(4))
        where: dict[str, Any] = {"project": "affectstream", "name": name, "dir": str(run)}
        number = marker.read_text().strip()
        try:
            wandb_run = wandb.init(**where, config=dict(config), id=number, resume="allow")
        except wandb.errors.Error as error:  # not logged in, no network
            raise OptionError(
                f"--track wandb: {first_line(error)} (WANDB_MODE=offline needs neither)"
            ) from error
        try:
            yield lambda epoch, metrics: wandb_run.log(dict(metrics), step=epoch)
        finally:
            wandb_run.finish()
    else:
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(run / FOLDER) as writer:

            def log(epoch: int, metrics: Mapping[str, float]) -> None:
                for metric, value in metrics.items():
                    if metric != "epoch":
                        writer.add_scalar(_TAGS.get(metric, f"valid/{metric}"), value, epoch)
                writer.flush()

            yield log
