"""The training loop: read it from top to bottom.

AdamW, linear warm-up then cosine to zero, clipped gradients, a running average of the weights that
is what gets validated and exported, and a checkpoint after each epoch from which a run resumes to
the same loss curve (weights, average, optimiser, random state and epoch are all in it). A loss
that is no number ends the run before it reaches the weights.
"""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from affectstream.train.errors import RunError
from affectstream.train.recipe import DataBound, FitConfig, Recipe, average_into

LAST, BEST, LOG = "last.pt", "best.pt", "log.csv"


def learning_rate(step: int, *, steps: int, warmup: int, peak: float) -> float:
    """Linear warm-up to `peak` over `warmup` steps, then a half cosine down to zero at `steps`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.5 * peak * (1.0 + math.cos(math.pi * min(1.0, progress)))


def tell(line: str) -> None:
    """Print at once, so that a run can be followed in a file too."""
    print(line, flush=True)


def fit(
    recipe: Recipe,
    config: FitConfig,
    data: Path,
    run: Path,
    *,
    resume: bool = False,
    report: Callable[[str], None] = tell,
) -> dict[str, float]:
    """Train `recipe` on `data`, leaving `last.pt`, `best.pt` and `log.csv` in `run`.

    Returns the validation figures of the best epoch. Raises `DataMissing` where the data is absent
    and `RunError` where `run` already holds a run and `resume` was not asked for, holds one that this
    cannot go on with, or where the loss is no number any more.
    """
    if (run / LAST).exists() and not resume:
        raise RunError(f"{run} already holds a run: resume it, or choose another folder")
    setting: dict[str, Any] | None = None
    if isinstance(recipe, DataBound):
        bound = recipe.for_data(data, config)
        recipe, setting = bound, bound.setting()
    run.mkdir(parents=True, exist_ok=True)
    fabric = Fabric(accelerator="auto", devices=1, precision=config.precision)  # type: ignore[arg-type]
    torch.manual_seed(config.seed)
    loaders = recipe.loaders(data, config)
    bare = recipe.module()
    optimiser = torch.optim.AdamW(
        bare.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    module, optimiser = fabric.setup(bare, optimiser)
    average = copy.deepcopy(bare).requires_grad_(False)
    first_epoch, best = 0, -math.inf
    if resume and (run / LAST).exists():
        saved = torch.load(run / LAST, map_location="cpu", weights_only=False)
        _check_same(run, saved, recipe.name, setting)
        bare.load_state_dict(saved["module"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        torch.set_rng_state(saved["rng"])
        first_epoch, best = saved["epoch"] + 1, saved["best"]
    steps = len(loaders.train) * config.epochs
    warmup = int(len(loaders.train) * config.warmup_epochs)
    figures: dict[str, float] = {}
    for epoch in range(first_epoch, config.epochs):
        started, total, count = time.perf_counter(), 0.0, 0
        module.train()
        for index, batch in enumerate(loaders.train.epoch(epoch)):
            step = epoch * len(loaders.train) + index
            rate = learning_rate(step, steps=steps, warmup=warmup, peak=config.learning_rate)
            for group in optimiser.param_groups:
                group["lr"] = rate
            with fabric.autocast():
                loss = recipe.loss(bare, batch)
            if not math.isfinite(float(loss.detach())):
                kept = f"{run / LAST} holds epoch {epoch - 1}" if epoch else "nothing was kept"
                raise RunError(
                    f"the loss is {float(loss.detach())} in epoch {epoch}, batch {index} of "
                    f"{len(loaders.train)}; {kept}: lower the learning rate, or look at that batch"
                )
            optimiser.zero_grad(set_to_none=True)
            fabric.backward(loss)
            fabric.clip_gradients(module, optimiser, max_norm=config.clip_norm)
            optimiser.step()
            # A young average would be mostly the random start: let it follow quickly at first.
            average_into(average, bare, min(config.ema_decay, (1 + step) / (10 + step)))
            total, count = total + float(loss.detach()), count + 1
        average.eval()
        with torch.no_grad():
            figures = recipe.score(average, loaders.valid)
        headline = next(iter(figures.values()))
        row = {"epoch": epoch, "loss": total / max(1, count), **figures}
        report(_line(row, time.perf_counter() - started))
        _append(run / LOG, row)
        state = {
            "recipe": recipe.name,
            "setting": setting,
            "config": asdict(config),
            "epoch": epoch,
            "best": max(best, headline),
            "figures": figures,
            "module": bare.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "rng": torch.get_rng_state(),
            "torch": torch.__version__,
        }
        _save(state, run / LAST)
        if headline > best:
            best = headline
            _save(
                {
                    k: state[k]
                    for k in ("recipe", "setting", "config", "epoch", "figures", "average")
                },
                run / BEST,
            )
    return load_best(recipe, run)[1] if (run / BEST).exists() else figures


@dataclass(frozen=True, slots=True)
class Trained:
    """The best epoch of a run."""

    recipe: Recipe
    """As it was for the run's data set."""
    module: nn.Module
    """The averaged weights, in evaluation mode."""
    figures: dict[str, float]
    config: dict[str, Any]
    epoch: int


def load_run(recipe: Recipe, run: Path) -> Trained:
    """The best epoch of a run. Raises `RunError` for a run that is not there or is another recipe's."""
    if not (run / BEST).exists():
        raise RunError(f"{run / BEST} not found: train {recipe.name!r} first")
    saved: dict[str, Any] = torch.load(run / BEST, map_location="cpu", weights_only=False)
    if saved["recipe"] != recipe.name:
        raise RunError(f"{run} holds recipe {saved['recipe']!r}, expected {recipe.name!r}")
    if isinstance(recipe, DataBound):
        recipe = recipe.restored(saved["setting"])
    module = recipe.module()
    module.load_state_dict(saved["average"])
    module.eval().requires_grad_(False)
    return Trained(recipe, module, saved["figures"], saved["config"], saved["epoch"])


def load_best(recipe: Recipe, run: Path) -> tuple[nn.Module, dict[str, float]]:
    """Module and figures of `load_run`."""
    trained = load_run(recipe, run)
    return trained.module, trained.figures


def _check_same(
    run: Path, saved: dict[str, Any], recipe: str, setting: dict[str, Any] | None
) -> None:
    """Refuse to go on with another recipe, other data or another network."""
    if saved["recipe"] != recipe:
        raise RunError(f"{run} holds recipe {saved['recipe']!r}, expected {recipe!r}")
    before, now = saved.get("setting") or {}, setting or {}
    if different := [name for name in now if before.get(name) != now[name]]:
        raise RunError(
            f"{run} was begun with other data or options ({', '.join(different)}): give the same "
            "ones to resume it, or choose another folder"
        )


def _save(state: dict[str, Any], path: Path) -> None:
    """Write beside, then rename: an interrupted save leaves the previous checkpoint whole."""
    beside = path.with_suffix(".tmp")
    torch.save(state, beside)
    beside.replace(path)


def _append(path: Path, row: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def _line(row: dict[str, float], seconds: float) -> str:
    figures = "  ".join(f"{k} {v:.4f}" for k, v in row.items() if k != "epoch")
    return f"epoch {int(row['epoch']):3d}  {figures}  ({seconds:.0f} s)"
