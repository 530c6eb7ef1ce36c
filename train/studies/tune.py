"""Hyperparameter search: many short runs of one recipe with different settings; poor ones are pruned.

Optuna's TPE sampler (Bergstra et al., 2011) proposes settings, and a trial is pruned that is worse than the
median of earlier trials at the same epoch. RUN/study.db holds every trial, so a study continues where it
stopped, and several processes may work on one. Only the best trial keeps its weights.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectstream.stream.errors import OptionError
from affectstream.stream.sinks.base import writing
from affectstream.train.config import SEED_LIMIT, SETTINGS, FitConfig, override, write_toml
from affectstream.train.errors import RunError, first_line
from affectstream.train.fit.checkpoint import BEST, LAST, data_hashes
from affectstream.train.fit.loggers import Report, format_metrics, print_line
from affectstream.train.fit.loop import fit
from affectstream.train.metrics import score
from affectstream.train.recipe import Bindable, Recipe
from affectstream.train.search_space import OneOf, sampled_settings, space_of

if TYPE_CHECKING:
    import optuna

STUDY, FOLDER, BEST_CONFIG, LOCK = "study.db", "tune", "best.toml", "lock"
STARTUP_TRIALS = 5
ERROR = "broke"
"""Attribute of a trial that failed by itself: the error. Interrupted trials have none."""


@dataclass(frozen=True, slots=True)
class TuneResult:
    """The state of a study. Interrupted trials do not count."""

    trials: int
    """Complete, pruned and failed trials, including those of earlier calls."""
    pruned: int
    failed: int
    best: int
    metric: float
    """`metrics.score` of its best epoch."""
    config: FitConfig


def tune(
    recipe: Recipe,
    config: FitConfig,
    data: Path,
    run: Path,
    trials: int,
    report: Report = print_line,
) -> TuneResult:
    """Search `space_of` the recipe until the study in `run` has `trials` trials.

    Settings outside the space are those of `config`. Writes ``study.db``, and in ``tune/`` a folder for each
    trial, plots, and ``best.toml`` for ``train fit --config``. Raises `OptionError` for more than one device
    and where `run` holds a different study, `RunError` where every trial failed, and what `fit` raises.
    """
    import optuna

    if config.devices != "1":
        raise OptionError(
            f"--devices {config.devices}: a trial runs on one device; start several processes"
        )
    # Failed trials are reported below; optuna's warning would add a traceback.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if isinstance(recipe, Bindable):
        recipe.bind(data, config)  # refuses impossible settings before there is a study
    with writing(run):
        (run / FOLDER).mkdir(parents=True, exist_ok=True)
    with _database_errors(run / STUDY):
        search = _Search(recipe, config, data, run, report)
        with _join_study(search.study, run / FOLDER) as stale:
            if stale:
                report(f"interrupted earlier, not counted: trial {', '.join(map(str, stale))}")
            if done := len(search.counted()):
                report(f"{run / STUDY} holds {done} trials: continuing to {trials}")
            try:
                while len(search.counted()) < trials:
                    search.delete_weights()
                    search.study.optimize(search.train, n_trials=1, catch=(RunError,))
            finally:
                search.delete_weights(ended=search.current)
            return search.result()


@contextmanager
def _database_errors(path: Path) -> Iterator[None]:
    """Turn errors of the study's database into `RunError`."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        problem = first_line(error.__cause__ or error)
        raise RunError(f"{path} cannot be read or written: {problem}") from error


@contextmanager
def _join_study(study: optuna.Study, folder: Path) -> Iterator[list[int]]:
    """Work on `study`; yields the numbers of its stale trials, which are marked as failed.

    The process of a stale trial died. Each process that works on a study holds a shared lock on a file in
    `folder`, which the system releases however it ends: if nobody else holds it, no trial can be running. (A
    heartbeat would have to wait, and would take a machine that slept for a dead one.) On a file system
    without locks no trial is stale.
    """
    from optuna.trial import TrialState

    with writing(folder / LOCK):
        file = (folder / LOCK).open("ab")
    stale = []
    with file:
        with suppress(OSError):  # another process holds it, or there are no locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stale = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        for trial in stale:
            study.tell(trial.number, state=TrialState.FAIL)
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH)
        yield [trial.number for trial in stale]


class _Search:
    def __init__(
        self, recipe: Recipe, config: FitConfig, data: Path, run: Path, report: Report
    ) -> None:
        """Create or continue the study. Raises `OptionError` where it has other trials."""
        import optuna
        from sqlalchemy import URL

        self.recipe, self.config, self.data, self.report = recipe, config, data, report
        self.file, self.folder = run / STUDY, run / FOLDER
        self.space = space_of(recipe)
        self.current: int | None = None
        """Number of the newest trial of this process."""
        self.study = optuna.create_study(
            study_name=recipe.name,
            storage=str(URL.create("sqlite", database=str(self.file))),
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS),
        )
        ranges = {name: str(part) for name, part in self.space.items()}
        fixed = self._fixed_settings()
        before = self.study.user_attrs if self.study.trials else {}  # without trials all may change
        if names := _differing(before.get("space", ranges), ranges):
            raise OptionError(f"{self.file} searches another space ({names}): choose other --runs")
        old = before.get("same", fixed)  # an older version had fewer settings
        if names := _differing(old, {name: fixed.get(name) for name in old}):
            raise OptionError(
                f"{self.file} has trials with other data or settings ({names}): give the same to "
                "continue, or choose other --runs"
            )
        self.study.set_user_attr("space", ranges)
        self.study.set_user_attr("same", fixed)
        # Another seed for each call: the same one would propose the first trials again.
        seed = (config.seed * 100_003 + len(self.study.trials)) % SEED_LIMIT
        self.study.sampler = optuna.samplers.TPESampler(seed=seed)

    def _fixed_settings(self) -> dict[str, Any]:
        """What all trials must have in common, in plain values."""
        searched = {name.partition(".")[0] for name in self.space}
        settings = {
            name: value
            for name, value in asdict(self.config).items()
            if name not in searched and SETTINGS[name].effect != "speed"
        }
        fixed = {"recipe": self.recipe.name, **data_hashes(self.data), **settings}
        plain: dict[str, Any] = json.loads(json.dumps(fixed))
        return plain

    def counted(self) -> list[optuna.trial.FrozenTrial]:
        """Complete and pruned trials, and those that failed by themselves, not by Ctrl-C or a kill."""
        finished = [trial for trial in self.study.trials if trial.state.is_finished()]
        return [t for t in finished if t.state.name != "FAIL" or ERROR in t.user_attrs]

    def complete(self) -> list[optuna.trial.FrozenTrial]:
        """Trials with a final metric; that of a pruned one is of an early epoch."""
        return [trial for trial in self.study.trials if trial.state.name == "COMPLETE"]

    def train(self, trial: optuna.Trial) -> float:
        """Train one trial and report the metric of each epoch; returns that of its best epoch."""
        import optuna

        sampled: dict[str, Any] = {
            name: trial.suggest_categorical(name, part.values)
            if isinstance(part, OneOf)
            else trial.suggest_float(name, part.low, part.high, log=part.log)
            for name, part in self.space.items()
        }
        folder = self.folder / f"trial-{trial.number:03d}"
        self.current = trial.number
        shutil.rmtree(folder, ignore_errors=True)

        def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
            trial.report(score(metrics, self.config.monitor), epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        short = {n: f"{v:.3g}" if isinstance(v, float) else v for n, v in sampled.items()}
        values = ", ".join(f"{name} {value}" for name, value in short.items())
        title = f"trial {trial.number}: {values}"
        try:
            metrics = fit(
                self.recipe,
                self._configured(sampled),
                self.data,
                folder,
                report=lambda line: None,  # it is in the trial's log
                on_epoch=on_epoch,
            )
        except optuna.TrialPruned:
            self.report(f"{title}: pruned")
            raise
        except RunError as error:
            trial.set_user_attr(ERROR, str(error))
            self.report(f"{title}: failed: {error}")
            raise
        self.report(f"{title}: {format_metrics(metrics)}")
        return score(metrics, self.config.monitor)

    def _configured(self, sampled: Mapping[str, Any]) -> FitConfig:
        settings = sampled_settings(sampled, self.config.options)
        return override(self.config, settings, str(self.file))

    def delete_weights(self, ended: int | None = None) -> None:
        """Delete all checkpoints but those of the best and of running trials; trial `ended` does not run."""
        running = {t.number for t in self.study.trials if not t.state.is_finished()} - {ended}
        best = {self.study.best_trial.number} if self.complete() else set()
        for place in self.folder.glob("trial-*"):
            number = int(place.name.removeprefix("trial-"))
            if number not in running:
                (place / LAST).unlink(missing_ok=True)
            if number not in running | best:
                (place / BEST).unlink(missing_ok=True)

    def result(self) -> TuneResult:
        """Write the best settings and the plots; returns the state of the study."""
        states = [trial.state.name for trial in self.counted()]
        if not self.complete():
            raise RunError(f"none of the {len(states)} trials in {self.file} was completed")
        best = self.study.best_trial
        assert best.value is not None
        config = self._configured(best.params)
        with writing(self.folder):
            write_toml(self.folder / BEST_CONFIG, self.recipe.name, self.data, config)
            _plot(self.study, self.folder, several=len({t.value for t in self.complete()}) > 1)
        return TuneResult(
            trials=len(states),
            pruned=states.count("PRUNED"),
            failed=states.count("FAIL"),
            best=best.number,
            metric=best.value,
            config=config,
        )


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return ", ".join(name for name in {**before, **now} if before.get(name) != now.get(name))


def _plot(study: optuna.Study, folder: Path, *, several: bool) -> None:
    """Draw the history; with `several` different metrics also what the settings contribute."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from optuna.exceptions import ExperimentalWarning
    from optuna.visualization import matplotlib as draw

    plots: dict[str, Callable[..., Any]] = {"history": draw.plot_optimization_history}
    if several:
        plots |= {
            "importances": draw.plot_param_importances,
            "parallel": draw.plot_parallel_coordinate,
            "slice": draw.plot_slice,
        }
    for name, plot in plots.items():
        with warnings.catch_warnings(), pyplot.rc_context():  # optuna sets a style for the process
            warnings.simplefilter("ignore", ExperimentalWarning)
            plot(study)
            pyplot.gcf().savefig(folder / f"{name}.png", dpi=120, bbox_inches="tight")
        pyplot.close("all")
