"""Distillation: a network learns the probabilities of others beside the labels."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.stream.cli import main
from affectstream.stream.errors import OptionError
from affectstream.train.config import FitConfig
from affectstream.train.errors import RunError
from affectstream.train.fit.checkpoint import load
from affectstream.train.fit.loop import fit
from affectstream.train.losses import LossConfig
from affectstream.train.model_spec import TeacherSource
from affectstream.train.recipes.registry import recipes
from affectstream.train.recipes.teachers import Teacher, Teachers
from affectstream.train.tasks import Task
from tests.support.prepared import samples, write
from tests.support.toy_recipes import curve

RECIPE = recipes()["face_resnet"]
PLAIN = FitConfig(epochs=1, batch_size=4, tiny=True, size=48, warmup_epochs=0.0, mixup=0.4)
TASK = Task("emotion", ("neutral", "joy", "anger"), (60, 30, 10))
PLAIN_LOSS = LossConfig()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    made = [*samples(8, "train", grey=True), *samples(8, "valid", grey=True)]
    return write(tmp_path_factory.mktemp("data") / "set", made)


def train(data, run, **changes):
    fit(RECIPE, replace(PLAIN, **changes), data, run, report=lambda line: None)
    return run


@pytest.fixture(scope="module")
def teacher(data, tmp_path_factory):
    return train(data, tmp_path_factory.mktemp("teacher") / "run", options={"channels": 16})


class Fixed(torch.nn.Module):
    def __init__(self, rows):
        super().__init__()
        self.rows = torch.tensor(rows)

    def forward(self, batch):
        return self.rows


def teachers(*rows, loss=PLAIN_LOSS, share=0.5, temperature=1.0):
    members = [Teacher(Fixed(row), (TASK,), loss, TeacherSource("fixed", "")) for row in rows]
    return Teachers(tuple(members), share, temperature)


def test_a_student_that_agrees_with_its_teacher_has_no_loss():
    logits = [[2.0, -1.0, 0.5]]
    for temperature in (1.0, 4.0):
        of_one = teachers(logits, temperature=temperature)
        assert of_one.loss([TASK], torch.tensor(logits), {}, LossConfig()).abs() < 1e-6


def test_the_teachers_are_joined_by_the_mean_of_their_probabilities():
    rows = [[[4.0, 0.0, 0.0]], [[0.0, 4.0, 0.0]]]
    mean = torch.stack([torch.tensor(row).softmax(1) for row in rows]).mean(0)
    loss = teachers(*rows).loss([TASK], mean.log(), {}, LossConfig())
    assert loss.abs() < 1e-6


def test_soft_gradients_are_as_large_as_hard_ones():
    student = torch.tensor([[0.1, 0.0, -0.1]], requires_grad=True)
    sizes = []
    for temperature in (4.0, 8.0):
        loss = teachers([[1.0, 0.0, -1.0]], temperature=temperature).loss(
            [TASK], student, {}, LossConfig()
        )
        sizes.append(torch.autograd.grad(loss, student)[0].norm())
    assert 0.9 < sizes[0] / sizes[1] < 1.1


def test_balanced_and_plain_networks_are_compared_under_one_prior():
    plain = torch.tensor([[1.0, 0.2, -0.4]])
    prior = torch.tensor(TASK.counts) / sum(TASK.counts)
    balanced = plain - 0.5 * prior.log()
    of_teachers = teachers(plain.tolist())
    assert of_teachers.loss([TASK], balanced, {}, LossConfig(prior_power=0.5)).abs() < 1e-6
    of_balanced = teachers((plain - prior.log()).tolist(), loss=LossConfig(class_weights=True))
    assert of_balanced.loss([TASK], plain, {}, LossConfig()).abs() < 1e-6


def test_the_share_of_the_teachers_is_theirs():
    mixed = teachers([[0.0, 0.0, 0.0]], share=0.7).mixed(torch.tensor(1.0), torch.tensor(2.0))
    assert float(mixed) == pytest.approx(1.7)


def test_a_student_learns_from_wider_teachers_and_resumes_to_the_same_curve(
    data, teacher, tmp_path
):
    taught = {"teachers": (str(teacher),), "prior_power": 0.3}
    whole = train(data, tmp_path / "whole", epochs=2, **taught)
    config = replace(PLAIN, epochs=2, **taught)

    class Stop(Exception):
        pass

    def stop(epoch, metrics):
        raise Stop

    with pytest.raises(Stop):
        fit(RECIPE, config, data, tmp_path / "cut", report=lambda line: None, on_epoch=stop)
    fit(RECIPE, config, data, tmp_path / "cut", resume=True, report=lambda line: None)
    assert curve(tmp_path / "cut") == curve(whole)
    alone = train(data, tmp_path / "alone", epochs=2, prior_power=0.3)
    assert curve(alone) != curve(whole)
    setting = load(whole / "best.pt")["setting"]
    assert setting["distillation"]["teachers"][0]["recipe"] == "face_resnet"
    assert setting["options"]["channels"] == 8


def test_a_teacher_that_has_changed_is_not_resumed_with(data, teacher, tmp_path):
    run = train(data, tmp_path / "run", teachers=(str(teacher),))
    other = train(data, tmp_path / "other", seed=1)
    (tmp_path / "saved.pt").write_bytes((teacher / "best.pt").read_bytes())
    try:
        (teacher / "best.pt").write_bytes((other / "best.pt").read_bytes())
        with pytest.raises(RunError, match=r"distillation\.teachers\.1\.sha256"):
            fit(
                RECIPE,
                replace(PLAIN, epochs=2, teachers=(str(teacher),)),
                data,
                run,
                resume=True,
                report=lambda line: None,
            )
    finally:
        (teacher / "best.pt").write_bytes((tmp_path / "saved.pt").read_bytes())


def test_teachers_that_do_not_fit_are_refused(data, teacher, tmp_path):
    def bind(folder, **changes):
        return RECIPE.bind(data, replace(PLAIN, teachers=(str(folder),), **changes))

    with pytest.raises(RunError, match=r"--teacher .*nothing: no run there; expected best\.pt"):
        bind(tmp_path / "nothing")
    with pytest.raises(OptionError, match="samples with another size 48; expected 64"):
        bind(teacher, size=64)
    made = [*samples(8, "train", grey=True, labels=("neutral", "joy"))]
    made += samples(8, "valid", grey=True, labels=("neutral", "joy"))
    two = write(tmp_path / "two", made)
    of_two = train(two, tmp_path / "run")
    with pytest.raises(OptionError, match=r"it predicts emotion \(neutral, joy\); expected"):
        bind(of_two)
    with pytest.raises(OptionError, match="--class-weights balances the classes already"):
        RECIPE.bind(data, replace(PLAIN, class_weights=True, prior_power=0.5))


def test_the_command_line_takes_several_teachers(data, teacher, tmp_path, capsys):
    command = ["train", "fit", "--recipe", "face_resnet", "--data", str(data), "--tiny"]
    command += ["--epochs", "1", "--batch-size", "4", "--runs", str(tmp_path), "--track", "none"]
    again = train(data, tmp_path / "again")
    command += ["--teacher", str(teacher), "--teacher", str(again), "--prior-power", "0.2"]
    with pytest.raises(SystemExit) as left:
        main(command)
    assert left.value.code == 0
    assert "best: accuracy" in capsys.readouterr().out
