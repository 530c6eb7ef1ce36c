"""A study: many short runs of one recipe, each with other settings, the hopeless ones cut short.

Trees of Parzen estimators (Bergstra et al., 2011) propose, the median of the trials before at the same
epoch prunes. Every trial is in RUN/study.db as soon as it is known, so a study goes on where it stopped,
and several processes may work on one. Of the trials' own folders only the best one keeps its weights.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectstream.stream.errors import OptionError
from affectstream.stream.sinks.base import writing
from affectstream.train.config import SEED_LIMIT, SETTINGS, FitConfig, override, write_toml
from affectstream.train.errors import RunError, first_line
from affectstream.train.fit.checkpoint import BEST, LAST, data_hashes
from affectstream.train.fit.loggers import format_metrics, print_line
from affectstream.train.fit.loop import fit
from affectstream.train.recipe import Bindable, Recipe
from affectstream.train.search_space import OneOf, Space, sampled_settings, space_of
from affectstream.train.studies.stale_trials import join_study

if TYPE_CHECKING:
    import optuna

STUDY, FOLDER, BEST_CONFIG = "study.db", "tune", "best.toml"
STARTUP = 5
"""Trials before any is pruned."""
BROKE = "broke"
"""Attribute of a trial that failed by itself: what it failed of."""


@dataclass(frozen=True, slots=True)
class TuneResult:
    """What a study came to."""

    trials: int
    """Whole, pruned or failed, those of earlier calls too; not those that were cut short."""
    pruned: int
    failed: int
    """Those that broke down."""
    best: int
    """Number of the best trial."""
    metric: float
    """The first validation figure of its best epoch."""
    config: FitConfig
    plots: tuple[Path, ...]


def tune(
    recipe: Recipe,
    config: FitConfig,
    data: Path,
    run: Path,
    trials: int,
    report: Callable[[str], None] = print_line,
) -> TuneResult:
    """Search `space_of` the recipe until the study in `run` has `trials` trials; what is not searched is
    as in `config`.

    Leaves ``study.db`` in `run`, and in ``tune/`` a folder for each trial, ``best.toml`` for `train fit
    --config`, and plots. Raises `OptionError` for more than one device or another space than the study
    in `run` has, `RunError` where every trial failed, and what `fit` raises of the data.
    """
    import optuna

    if config.devices != "1":
        raise OptionError(f"--devices {config.devices}: a study's trials run on one; start several")
    # What a trial failed of is told below; optuna's warning of it comes with a traceback.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if isinstance(recipe, Bindable):
        recipe.bind(data, config)  # what cannot be is said before there is a study
    space = space_of(recipe)
    with writing(run):
        (run / FOLDER).mkdir(parents=True, exist_ok=True)
    with _stored(run / STUDY):
        study = _open(run, recipe, config, data, space)
        with join_study(study, run / FOLDER) as left:
            if left:
                report(f"cut short before, and not counted: trial {', '.join(map(str, left))}")
            if ended := len(_ended(study)):
                report(f"{run / STUDY} holds {ended} trials: going on to {trials}")
            objective = _Objective(recipe, config, data, run, space, report)
            try:
                while len(_ended(study)) < trials:
                    _forget(study, run / FOLDER)
                    study.optimize(objective, n_trials=1, catch=(RunError,))
            finally:
                _forget(study, run / FOLDER, cut_short=objective.under_way)
            return _summed_up(study, recipe, config, data, run)


@contextmanager
def _stored(path: Path) -> Iterator[None]:
    """Turn what the database of a study trips over into a `RunError`."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        why = first_line(error.__cause__ or error)
        raise RunError(f"{path} cannot be read or written: {why}") from error


def _open(run: Path, recipe: Recipe, config: FitConfig, data: Path, space: Space) -> optuna.Study:
    """The study of `run`, begun or gone on with. Raises `OptionError` where it is another one."""
    import optuna
    from sqlalchemy import URL

    study = optuna.create_study(
        study_name=recipe.name,
        storage=str(URL.create("sqlite", database=str(run / STUDY))),
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP),
    )
    said = {name: str(part) for name, part in space.items()}
    begun = study.user_attrs if study.trials else {}  # one without any trial binds nobody
    before = begun.get("space", said)
    if before != said:
        different = [name for name in {**before, **said} if before.get(name) != said.get(name)]
        raise OptionError(
            f"{run / STUDY} searches another space ({', '.join(different)}): choose other --runs"
        )
    study.set_user_attr("space", said)
    same = _of_all_trials(recipe, config, data, space)
    if different := [n for n, v in begun.get("same", same).items() if same.get(n) != v]:
        raise OptionError(
            f"{run / STUDY} has trials with other data or settings ({', '.join(different)}): give the same "
            "to go on, or choose other --runs"
        )
    study.set_user_attr("same", same)
    # Another seed for what is left: the same would propose the first trials once more.
    study.sampler = optuna.samplers.TPESampler(
        seed=(config.seed * 100_003 + len(study.trials)) % SEED_LIMIT
    )
    return study


def _of_all_trials(recipe: Recipe, config: FitConfig, data: Path, space: Space) -> dict[str, Any]:
    """What has to be the same for trials to be compared, in plain values."""
    searched = {name.partition(".")[0] for name in space}
    settings_ = {
        n: v
        for n, v in asdict(config).items()
        if n not in searched and SETTINGS[n].effect != "speed"
    }
    said = {"recipe": recipe.name, **data_hashes(data), **settings_}
    same: dict[str, Any] = json.loads(json.dumps(said))
    return same


def _ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that count: whole, pruned, or broken down by themselves, not by Ctrl-C or a kill."""
    return [
        trial
        for trial in study.trials
        if trial.state.is_finished() and (trial.state.name != "FAIL" or BROKE in trial.user_attrs)
    ]


def _whole(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that came to their end: a pruned one has a figure too, but of an early epoch."""
    return [trial for trial in study.trials if trial.state.name == "COMPLETE"]


class _Objective:
    """One trial: pick, fit, tell each epoch's figure."""

    def __init__(
        self,
        recipe: Recipe,
        config: FitConfig,
        data: Path,
        run: Path,
        space: Space,
        report: Callable[[str], None],
    ) -> None:
        self._recipe, self._config, self._data, self._run = recipe, config, data, run
        self._space, self._report = space, report
        self.under_way: int | None = None
        """Number of the trial that is being trained, or was when something ended the study."""

    def __call__(self, trial: optuna.Trial) -> float:
        import optuna

        picked = {name: _suggested(trial, name, part) for name, part in self._space.items()}
        config = override(self._config, sampled_settings(picked, self._config.options), "study")
        folder = self._run / FOLDER / f"trial-{trial.number:03d}"
        self.under_way = trial.number
        shutil.rmtree(folder, ignore_errors=True)

        def on_epoch(epoch: int, figures: Mapping[str, float]) -> None:
            trial.report(next(iter(figures.values())), epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        said = ", ".join(f"{name} {_short(value)}" for name, value in picked.items())
        try:
            figures = fit(
                self._recipe, config, self._data, folder, report=_silent, on_epoch=on_epoch
            )
        except optuna.TrialPruned:
            self._report(f"trial {trial.number}: {said}: pruned")
            raise
        except RunError as error:
            trial.set_user_attr(BROKE, str(error))
            self._report(f"trial {trial.number}: {said}: failed: {error}")
            raise
        self._report(f"trial {trial.number}: {said}: {format_metrics(figures)}")
        return next(iter(figures.values()))


def _forget(study: optuna.Study, folder: Path, cut_short: int | None = None) -> None:
    """Drop the weights of all trials in `folder` but the best and those that other processes are at, of which
    `cut_short` is none."""
    running = {t.number for t in study.trials if not t.state.is_finished()} - {cut_short}
    best = {study.best_trial.number} if _whole(study) else set()
    for place in folder.glob("trial-*"):
        number = int(place.name.removeprefix("trial-"))
        if number not in running:
            (place / LAST).unlink(missing_ok=True)
        if number not in running | best:
            (place / BEST).unlink(missing_ok=True)


def _suggested(trial: optuna.Trial, name: str, part: Any) -> Any:
    if isinstance(part, OneOf):
        return trial.suggest_categorical(name, part.values)
    return trial.suggest_float(name, part.low, part.high, log=part.log)


def _summed_up(
    study: optuna.Study, recipe: Recipe, config: FitConfig, data: Path, run: Path
) -> TuneResult:
    states = [trial.state.name for trial in _ended(study)]
    if not _whole(study):
        raise RunError(f"none of the {len(states)} trials in {run / STUDY} came to its end")
    best = study.best_trial
    made = override(config, sampled_settings(best.params, config.options), str(run / STUDY))
    assert best.value is not None
    with writing(run / FOLDER):
        write_toml(run / FOLDER / BEST_CONFIG, recipe.name, data, made)
        plots = _plotted(study, run / FOLDER)
    return TuneResult(
        trials=len(states),
        pruned=states.count("PRUNED"),
        failed=states.count("FAIL"),
        best=best.number,
        metric=best.value,
        config=made,
        plots=tuple(plots),
    )


def _plotted(study: optuna.Study, folder: Path) -> list[Path]:
    """Draw the study, as far as it has trials enough."""
    import matplotlib

    matplotlib.use("Agg")
    import warnings

    from matplotlib import pyplot
    from optuna.exceptions import ExperimentalWarning
    from optuna.visualization import matplotlib as draw

    drawers: dict[str, Callable[..., Any]] = {
        "history": draw.plot_optimization_history,
        "importances": draw.plot_param_importances,
        "parallel": draw.plot_parallel_coordinate,
        "slice": draw.plot_slice,
    }
    found = []
    for name, drawer in drawers.items():
        if name != "history" and len({trial.value for trial in _whole(study)}) < 2:
            continue  # nothing to compare
        path = folder / f"{name}.png"
        with warnings.catch_warnings(), pyplot.rc_context():  # optuna sets a style for the process
            warnings.simplefilter("ignore", ExperimentalWarning)
            drawer(study)
            pyplot.gcf().savefig(path, dpi=120, bbox_inches="tight")
        pyplot.close("all")
        found.append(path)
    return found


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _silent(line: str) -> None:
    """A trial's own lines, which are in its log too."""
