"""Tasks: what is learned, what is left out, and the figures that come of it."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from affectstream.stream import OptionError
from affectstream.train.data.dataset import Dataset
from affectstream.train.errors import DataError
from affectstream.train.losses import (
    LossConfig,
    binary_cross_entropy,
    cross_entropy,
    squared_error,
)
from affectstream.train.networks.network import Head
from affectstream.train.onnx.engine_files import ServedHead
from affectstream.train.tasks import (
    TASK_TYPES,
    Task,
    check_names,
    compute_metrics,
    count_columns,
    labeled_rows,
    mean_loss,
    split_columns,
    tasks_for,
)
from tests.support.prepared import (
    LABELS,
    samples,
    utterances,
    write,
)

PLAIN = LossConfig()
NAN = float("nan")
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "set"
    return Dataset(write(folder, [*utterances(12, "train", crops=1), *utterances(8, "valid")]))


def rows_of(data):
    return {split: data.rows_of(split) for split in ("train", "valid")}


def bound(data, *names):
    return tasks_for(names, data, rows_of(data))


# --- what they learn from ---


def test_every_task_is_bound_to_its_column(data):
    truth = {name: bound(data, name)[0].targets(data)[:4] for name in TASK_TYPES}
    assert truth["emotion"].tolist() == [0, 2, 3, 1]  # in the order of the vocabulary
    assert truth["sentiment"].tolist() == [1, 2, 2, 0]
    assert truth["attention"].tolist() == truth["attention_regression"].tolist() == [0, 0, 1, 1]
    assert truth["valence"].tolist() == pytest.approx([0.0, 0.9, 0.3, -0.8])
    assert truth["arousal"].tolist() == pytest.approx([-0.5, 0.6, 0.8, 0.4])
    assert truth["engagement"].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert truth["intensity"].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert truth["emotion_multilabel"].shape == (4, 8)


def test_classes_are_those_of_split_train_and_are_counted(data):
    emotion, sentiment, attention = bound(data, "emotion", "sentiment", "attention")
    assert emotion.labels == ("neutral", "anger", "joy", "surprise")
    assert emotion.counts == (3, 3, 3, 3)
    assert sentiment.labels == ("negative", "neutral", "positive")
    assert sentiment.counts == (3, 3, 6)
    assert (attention.labels, attention.counts) == ((), (6, 6))
    assert count_columns((emotion, sentiment, attention)) == 4 + 3 + 1


def test_one_bundle_has_one_order_of_labels(data):
    _, amounts = bound(data, "emotion", "emotion_multilabel")
    assert amounts.labels == ("neutral", "anger", "joy", "surprise")
    assert amounts.targets(data).shape == (20, 4)


@pytest.mark.parametrize("names", [("smell",), ("emotion", "emotion"), (), TASK_TYPES])
def test_impossible_task_sets_are_refused(names):
    with pytest.raises(OptionError, match="--task"):
        check_names(names)


def test_a_task_without_labels_or_with_one_class_is_refused(tmp_path):
    made = [*samples(4, "train", labels=("joy",)), *samples(4, "valid")]
    data = Dataset(write(tmp_path / "set", made))
    with pytest.raises(DataError, match="all training samples are joy"):
        bound(data, "emotion")
    with pytest.raises(DataError, match=r"no samples for split train and task valence .*emotion 8"):
        bound(data, "valence")


# --- losses ---


def test_rows_without_a_label_do_not_count():
    logits = torch.randn(4, 3, requires_grad=True)
    labels = torch.tensor([0, -1, 2, -1])
    loss = cross_entropy(logits, labels, (1, 1, 1), PLAIN, labeled_share=0.5)
    wanted = torch.nn.functional.cross_entropy(logits[[0, 2]], labels[[0, 2]])
    torch.testing.assert_close(loss, wanted)
    loss.backward()
    assert (logits.grad[[1, 3]] == 0).all() and (logits.grad[[0, 2]] != 0).any()
    none = [
        cross_entropy(logits, torch.full((4,), -1), (1, 1, 1), PLAIN),
        binary_cross_entropy(logits[:, 0], torch.full((4,), NAN), (), PLAIN),
        squared_error(logits[:, 0], torch.full((4,), NAN)),
    ]
    assert [float(loss.detach()) for loss in none] == [0.0, 0.0, 0.0]
    assert all(loss.requires_grad for loss in none)


def test_votes_are_learned_as_a_distribution(tmp_path):
    made = list(samples(8, "train", labels=("neutral", "joy")))
    for sample in made[:4]:
        sample.votes = np.asarray([6, 0, 0, 0, 2, 0, 0, 2], np.float32)
    made[3].emotion = None  # a tie would have none
    made[7].emotion = None
    data = Dataset(write(tmp_path / "set", [*made, *samples(4, "valid")]))
    assert labeled_rows(["emotion"], data).tolist() == [*[True] * 7, False, *[True] * 4]
    task = Task("emotion", ("neutral", "joy"), (4, 4))
    shares = task.shares(data)[:8]
    assert shares[:4].tolist() == [[0.75, 0.25]] * 4  # contempt is no label of the task
    assert shares[4:7].tolist() == [[1, 0], [0, 1], [1, 0]]
    assert shares[7].isnan().all()
    logits = torch.randn(8, 2, requires_grad=True)
    loss = task.with_labels_of(shares).loss(logits, shares, PLAIN)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits[:7], shares[:7]))
    loss.backward()
    assert (logits.grad[7] == 0).all()
    assert Task("sentiment", ("negative", "positive")).shares(data) is None


@pytest.mark.parametrize(
    "config", [PLAIN, LossConfig(class_weights=True, label_smoothing=0.2, focal_gamma=2.0)]
)
def test_certain_shares_are_learned_as_classes(config):
    """Smoothed labels are weighted class by class, so only the plain part is compared with weights."""
    config = replace(config, label_smoothing=0.0)
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, -1, 1, 0])
    task = Task("emotion", ("neutral", "joy", "fear"), (3, 2, 1))
    torch.testing.assert_close(
        task.loss(logits, task.one_hot(labels), config), task.loss(logits, labels, config)
    )


def test_class_weights_make_classes_count_equally():
    logits = torch.randn(12, 2)
    labels = torch.tensor([0] * 4 + [1] * 8)
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    by_class = (each[:4].mean() + each[4:].mean()) / 2
    weighted = cross_entropy(logits, labels, (4, 8), LossConfig(class_weights=True))
    torch.testing.assert_close(weighted, by_class)
    truth, one = labels.float(), logits[:, 0]
    each = torch.nn.functional.binary_cross_entropy_with_logits(one, truth, reduction="none")
    by_class = (each[:4].mean() + each[4:].mean()) / 2
    weighted = binary_cross_entropy(one, truth, (4, 8), LossConfig(class_weights=True))
    torch.testing.assert_close(weighted, by_class)


def test_a_sample_counts_the_same_in_batches_of_any_size(data):
    """Of a task with few labels too: the gradients of an epoch are those of one batch of all samples."""
    tasks = bound(data, "emotion", "sentiment", "attention", "emotion_multilabel", "valence")
    truth = {task.name: task.targets(data)[:12] for task in tasks}
    truth["sentiment"][:9], truth["valence"][2:] = -1, NAN
    tasks = [task.with_labels_of(truth[task.name]) for task in tasks]
    assert [task.labeled_share for task in tasks] == [1.0, 0.25, 1.0, 1.0, pytest.approx(1 / 6)]
    outputs = torch.randn(12, count_columns(tasks), generator=torch.Generator().manual_seed(0))
    for config in (PLAIN, LossConfig(class_weights=True, focal_gamma=2.0)):
        gradients = []
        for size in (12, 4, 1):
            leaf = outputs.clone().requires_grad_()
            for rows in torch.arange(12).view(-1, size):
                part = {name: values[rows] for name, values in truth.items()}
                (mean_loss(tasks, leaf[rows], part, config) * size / 12).backward()
            gradients.append(leaf.grad)
        torch.testing.assert_close(gradients[1], gradients[0])
        torch.testing.assert_close(gradients[2], gradients[0])
    wanted = torch.nn.functional.mse_loss(outputs[:2, -1].tanh(), truth["valence"][:2])
    torch.testing.assert_close(tasks[-1].loss(outputs[:, -1:], truth["valence"], PLAIN), wanted)


@pytest.mark.parametrize("name", ["emotion", "attention"])
@pytest.mark.parametrize(("size", "accumulate"), [(64, 1), (4, 4), (1, 1)])
def test_class_weights_give_a_uniform_prior_in_batches_of_any_size(name, size, accumulate):
    """A bias alone learns the prior: of 576 and 64 samples that count equally, a half each."""
    config = LossConfig(class_weights=True, label_smoothing=0.1)
    is_class = name == "emotion"
    task = Task(name, ("neutral", "joy") if is_class else (), (576, 64))
    truth = torch.arange(640) % 10 == 0
    truth = truth.long() if is_class else truth.float()
    bias = torch.tensor([1.0, -1.0] if is_class else [-2.0], requires_grad=True)
    generator, learned = torch.Generator().manual_seed(0), []
    for _ in range(4):
        for batches in torch.randperm(640, generator=generator).view(-1, accumulate, size):
            for picked in batches:
                loss = task.loss(bias.expand(size, -1), truth[picked], config)
                (loss / accumulate).backward()
            with torch.no_grad():
                bias -= bias.grad / (1 + len(learned) / 50)
            bias.grad = None
            learned.append(bias.detach().clone())
    late = torch.stack(learned[len(learned) // 2 :]).mean(0, keepdim=True)
    assert float(task.predict(late).flatten()[-1]) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("power", [0.0, 0.3, 1.0])
def test_logit_adjustment_leaves_the_logits_that_much_less_of_the_prior(power):
    counts, seen = (6, 3, 1), torch.tensor([0] * 6 + [1] * 3 + [2])
    prior = torch.tensor(counts) / sum(counts)
    for truth in (seen, torch.nn.functional.one_hot(seen).float()):
        logits = torch.zeros(3, requires_grad=True)
        step = torch.optim.LBFGS([logits], max_iter=100, tolerance_grad=1e-9)

        def loss(truth=truth, logits=logits, step=step):
            step.zero_grad()
            rows, config = logits.expand(len(truth), 3), LossConfig(prior_power=power)
            value = Task("emotion", ("neutral", "joy", "anger"), counts).loss(rows, truth, config)
            value.backward()
            return value

        step.step(loss)
        found = torch.softmax(logits.detach(), 0)
        expected = prior ** (1 - power) / (prior ** (1 - power)).sum()
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_focal_loss_with_gamma_zero_is_cross_entropy_and_down_weights_easy_samples():
    logits, labels = torch.randn(8, 3), torch.randint(0, 3, (8,))
    plain = cross_entropy(logits, labels, (1, 1, 1), PLAIN)
    torch.testing.assert_close(
        cross_entropy(logits, labels, (1, 1, 1), LossConfig(focal_gamma=0.0)), plain
    )
    sure = torch.tensor([[8.0, 0.0]]), torch.tensor([0])
    unsure = torch.tensor([[0.1, 0.0]]), torch.tensor([0])
    shares = []
    for gamma in (0.0, 2.0):
        kept = [
            cross_entropy(*one, (1, 1), LossConfig(focal_gamma=gamma)) for one in (sure, unsure)
        ]
        shares.append(float(kept[0] / kept[1]))
    assert shares[1] < shares[0] / 1000
    right = torch.softmax(unsure[0], 1)[0, 0]
    torch.testing.assert_close(
        cross_entropy(*unsure, (1, 1), LossConfig(focal_gamma=2.0)),
        -((1 - right) ** 2) * right.log(),
    )


def test_smoothing_is_torchs():
    logits, labels = torch.randn(8, 3), torch.randint(0, 3, (8,))
    torch.testing.assert_close(
        cross_entropy(logits, labels, (1, 1, 1), LossConfig(label_smoothing=0.2)),
        torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.2),
    )


def test_all_tasks_together_learn(data):
    """A linear model of all tasks at once finds what it is told."""
    names = [name for name in TASK_TYPES if name != "attention_regression"]
    tasks = bound(data, *names)
    truth = {task.name: task.targets(data)[:12] for task in tasks}
    truth["valence"][3], truth["emotion"][5] = NAN, -1
    outputs = torch.zeros(12, count_columns(tasks), requires_grad=True)
    optimiser = torch.optim.Adam([outputs], lr=0.3)
    for _ in range(150):
        optimiser.zero_grad()
        mean_loss(tasks, outputs, truth, PLAIN).backward()
        optimiser.step()
    parts = split_columns(outputs.detach(), tasks)
    predicted = {task.name: task.predict(parts[task.name]).numpy() for task in tasks}
    numbers = {name: part.numpy() for name, part in truth.items()}
    figures = compute_metrics(tasks, numbers, predicted)
    assert next(iter(figures)) == "emotion/accuracy"
    for name in ("emotion", "sentiment", "attention"):
        assert figures[f"{name}/accuracy"] == 1.0
    for name in ("emotion_multilabel", "intensity", "engagement", "valence"):
        assert figures[f"{name}/mae"] < 0.05
        assert figures[f"{name}/ccc"] > 0.9


# --- figures ---


def test_classification_metrics_are_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics", reason="comes with the 'train' extra")
    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 5, 200), rng.random((200, 7))
    guess = said.argmax(1)
    assert Task("emotion", LABELS).metrics(truth, said) == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(truth, guess),
            "macro_f1": metrics.f1_score(truth, guess, average="macro"),
            "weighted_f1": metrics.f1_score(truth, guess, average="weighted"),
            "uar": metrics.recall_score(
                truth, guess, labels=range(5), average="macro", zero_division=0
            ),
        }
    )


def test_regression_metrics():
    task, truth = Task("valence"), np.array([0.0, 0.5, -0.5, NAN])
    assert task.metrics(truth, truth) == pytest.approx({"ccc": 1.0, "pearson": 1.0, "mae": 0.0})
    shifted = task.metrics(truth, truth + 0.5)
    assert shifted["pearson"] == pytest.approx(1.0)
    assert shifted["ccc"] == pytest.approx(2 * (1 / 6) / (1 / 3 + 0.25))
    assert shifted["mae"] == pytest.approx(0.5)
    still = task.metrics(truth, np.zeros(4))
    assert (still["ccc"], still["pearson"]) == (0.0, 0.0)
    assert task.metrics(truth[3:], truth[3:]) == {}


def test_binary_metrics():
    figures = Task("attention").metrics(
        np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.9, 0.6, 0.4, 0.1])
    )
    assert figures == pytest.approx(
        {"accuracy": 0.5, "f1": 0.5, "balanced_accuracy": 0.5, "auc": 0.75}
    )
    assert "auc" not in Task("attention").metrics(np.array([1.0, 1.0]), np.array([0.9, 0.6]))


# --- what a bundle says ---


class _Given(Head):
    """Says what it is shown."""

    takes = ("voice",)

    def forward(self, inputs):
        return inputs["voice"].sum(1)


def test_the_served_head_outputs_the_tasks_predictions():
    tasks = (
        Task("emotion", ("neutral", "joy"), (8, 2)),
        Task("sentiment", ("negative", "neutral", "positive"), (1, 1, 1)),
        Task("valence"),
        Task("attention", counts=(1, 1)),
    )
    head = ServedHead(_Given(), tasks, balanced=0.0)
    assert head.inputs == ["voice", "voice_mask"]
    assert head.outputs == ["logits", "sentiment", "valence", "attention"]
    shown, there = torch.randn(2, 1, 7), torch.tensor([[True], [False]])
    logits, sentiment, valence, attention = head(shown, there)
    prior = torch.tensor([0.8, 0.2])
    torch.testing.assert_close(
        torch.softmax(logits[0] + prior.log(), 0), torch.softmax(shown[0, 0, :2], 0)
    )
    assert (logits[1] == 0).all()  # nothing was heard, nothing is said
    torch.testing.assert_close(sentiment.sum(1), torch.ones(2))
    torch.testing.assert_close(valence, torch.tanh(shown[:, 0, 5]))
    torch.testing.assert_close(attention, torch.sigmoid(shown[:, 0, 6]))
    partly = ServedHead(_Given(), tasks, balanced=0.4)(shown, there)[0]
    torch.testing.assert_close(partly[0] + 0.6 * prior.log(), shown[0, 0, :2])
    balanced = ServedHead(_Given(), tasks, balanced=1.0)(shown, there)[0]
    torch.testing.assert_close(balanced[0].diff(), shown[0, 0, :2].diff())
