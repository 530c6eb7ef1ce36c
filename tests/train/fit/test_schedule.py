"""Learning rates, patience and phases: functions of the step and small state machines."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.stream.errors import OptionError
from affectstream.train.config import SCHEDULES
from affectstream.train.fit.phases import TrainableParameters, parameter_groups, phase_spans
from affectstream.train.fit.schedule import Patience, Plateau, learning_rate
from affectstream.train.networks.network import Phase

metrics = st.lists(st.floats(0, 1), max_size=40)


def curve(schedule, *, epochs=10, steps_per_epoch=10, warmup=1.0, peak=1.0):
    steps = epochs * steps_per_epoch
    return [
        learning_rate(
            schedule,
            step,
            steps=steps,
            steps_per_epoch=steps_per_epoch,
            warmup_epochs=warmup,
            peak=peak,
        )
        for step in range(steps)
    ]


@given(
    schedule=st.sampled_from(SCHEDULES),
    epochs=st.integers(1, 40),
    steps_per_epoch=st.integers(1, 20),
    warmup=st.floats(0, 60),
    peak=st.floats(1e-6, 1.0),
)
def test_every_schedule_rises_to_its_peak_and_stays_under_it(
    schedule, epochs, steps_per_epoch, warmup, peak
):
    rates = curve(
        schedule, epochs=epochs, steps_per_epoch=steps_per_epoch, warmup=warmup, peak=peak
    )
    rising = int(min(warmup * steps_per_epoch, len(rates) / 2))
    assert all(0 <= rate <= peak * (1 + 1e-9) for rate in rates)
    assert all(a < b for a, b in pairwise(rates[:rising]))
    assert rates[rising] == pytest.approx(peak)


def test_cosine_ends_at_nothing():
    rates = curve("cosine")
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[-1] < 1e-3
    assert all(a >= b for a, b in pairwise(rates[10:]))


@given(st.integers(1, 7), st.floats(1e-5, 1e-1))
def test_restarts_are_those_of_torch(steps_per_epoch, peak):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
        optimiser, T_0=10, T_mult=2, eta_min=1e-6
    )
    ours = curve("restarts", epochs=35, steps_per_epoch=steps_per_epoch, warmup=0.0, peak=peak)
    for step, rate in enumerate(ours):
        theirs.step(step / steps_per_epoch)
        assert rate == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-6)


@given(metrics)
def test_plateau_is_that_of_torch(values):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, mode="max", factor=0.5, patience=3, threshold=0.0, eps=0.0
    )
    ours = Plateau()
    for metric in values:
        theirs.step(metric)
        ours.push(metric)
        assert ours.scale == pytest.approx(optimiser.param_groups[0]["lr"])


@given(metrics, st.integers(0, 40))
def test_a_restored_state_machine_continues_as_the_first_would(values, cut):
    for make in (Plateau, lambda: Patience(3, 0.01)):
        whole, first, second = make(), make(), make()
        for metric in values:
            whole.push(metric)
        for metric in values[:cut]:
            first.push(metric)
        second.restore(first.state())
        for metric in values[cut:]:
            second.push(metric)
        assert second.state() == whole.state()


def test_patience_counts_epochs_without_improvement():
    patience = Patience(2, 0.01)
    spent = []
    for metric in (0.5, 0.505, 0.52, 0.52, 0.525):
        patience.push(metric)
        spent.append(patience.spent)
    assert spent == [False, False, False, False, True]
    endless = Patience(0, 0.0)
    for _ in range(100):
        endless.push(0.0)
    assert not endless.spent


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=5),
    st.integers(1, 30),
)
def test_phase_spans_cover_a_run_without_a_gap(lengths, epochs):
    found = phase_spans([Phase(length) for length in lengths], epochs)
    assert found[0].first == 0 and found[-1].end == epochs
    assert all(a.end == b.first and a.number < b.number for a, b in pairwise(found))


def test_lengths_replace_those_of_the_phases():
    phases = (Phase(20, frozen=("a",)), Phase(None))
    assert [(s.first, s.end) for s in phase_spans(phases, 30)] == [(0, 20), (20, 30)]
    assert [(s.first, s.end) for s in phase_spans(phases, 30, [3])] == [(0, 3), (3, 30)]
    assert [(s.first, s.end) for s in phase_spans(phases, 10)] == [(0, 10)]
    with pytest.raises(OptionError, match="has 3 lengths, expected one for each of the recipe's 2"):
        phase_spans(phases, 30, [1, 2, 3])
    with pytest.raises(OptionError, match="this run has no phases"):
        phase_spans((), 30, [1, 2])


def network():
    return torch.nn.ModuleDict(
        {
            "body": torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)),
            "body2": torch.nn.Linear(3, 3),
            "head": torch.nn.Linear(3, 2),
        }
    )


def test_each_group_has_its_factor_in_each_phase():
    phases = (Phase(1), Phase(1, rates={"body": 0.1, "body.1": 0.01}))
    module = network()
    groups = parameter_groups(module, phases)
    sizes = {(g.factors, g.decays): sum(p.numel() for _, p in g.parameters) for g in groups}
    assert sizes == {
        ((1.0, 1.0), True): 3 * 3 + 3 * 2,
        ((1.0, 1.0), False): 3 + 2,
        ((1.0, 0.1), True): 2 * 3,
        ((1.0, 0.1), False): 3,
        ((1.0, 0.01), False): 6,
    }


def test_weight_decay_spares_biases_and_norms():
    module = torch.nn.ModuleDict(
        {
            "first": torch.nn.Linear(3, 3),
            "batch": torch.nn.BatchNorm1d(3),
            "layer": torch.nn.LayerNorm(3),
            "mix": torch.nn.ParameterList([torch.nn.Parameter(torch.ones(2))]),
            "gru": torch.nn.GRU(3, 3),
        }
    )
    decayed, spared = parameter_groups(module, ())
    assert decayed.decays and not spared.decays
    assert [name for name, _ in decayed.parameters] == [
        *("first.weight", "mix.0", "gru.weight_ih_l0", "gru.weight_hh_l0")
    ]


def test_a_phase_may_name_blocks_that_a_smaller_network_lacks_but_not_those_alone():
    module, everything = network(), sum(p.numel() for p in network().parameters())
    groups = parameter_groups(module, (Phase(1, frozen=("body.0", "body.7")),))
    assert sum(p.numel() for group in groups for _, p in group.parameters) == everything
    with pytest.raises(OptionError, match="phase 2 of this recipe is about trunk"):
        parameter_groups(module, (Phase(1), Phase(1, frozen=("trunk",))))


def test_frozen_parts_have_no_gradient_and_keep_their_statistics():
    module = network()
    module["body2"].bias.requires_grad_(False)  # the recipe's own wish outlasts every phase
    learners = TrainableParameters(module)
    phase = Phase(1, frozen=("body",))
    assert learners.enter(phase) == 3 * 3 + 3 * 2 + 2
    learners.train_mode(phase)
    assert not module["body"][1].training
    assert module["body2"].training and module["head"].training
    assert {n for n, p in module.named_parameters() if not p.requires_grad} == {
        "body.0.weight",
        "body.0.bias",
        "body.1.weight",
        "body.1.bias",
        "body2.bias",
    }
    assert learners.enter(Phase(None)) == 3 * 3 + 3 * 2 + 2 + 9 + 6
    assert not module["body2"].bias.requires_grad


def test_a_metric_that_is_nan_is_no_improvement():
    patience = Patience(1, 0.0)
    patience.push(math.nan)
    assert patience.spent
