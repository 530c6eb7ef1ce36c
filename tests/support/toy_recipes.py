"""Recipes that train in a second, and helpers to train them."""

import csv

import torch

from affectstream.train.fit.loop import fit
from affectstream.train.networks.network import Phase
from affectstream.train.recipe import FitConfig, Loaders


class _Batches:
    """The same 256 pairs each epoch, whatever the size of a batch."""

    def __init__(self, size=32):
        self.size = size

    def __len__(self):
        return 256 // self.size

    def epoch(self, number):
        generator = torch.Generator().manual_seed(number)
        x = torch.randn(256, 4, generator=generator)
        for part in x.split(self.size):
            yield {"x": part, "y": (part[:, 0] > part[:, 1]).long()}


class Line:
    """Which of two numbers is larger: a line, learned in a second."""

    name, summary = "line", "for this test"
    defaults = FitConfig(epochs=6, batch_size=32, learning_rate=0.05, weight_decay=0.0)
    dropout = 0.1

    def loaders(self, data, config):
        return Loaders(_Batches(config.batch_size), list(_Batches().epoch(10_000)))

    def module(self):
        return torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.Dropout(self.dropout), torch.nn.Linear(8, 2)
        )

    def loss(self, module, batch):
        return torch.nn.functional.cross_entropy(module(batch["x"]), batch["y"])

    def validate(self, module, batches):
        hits = torch.cat([module(b["x"]).argmax(1) == b["y"] for b in batches])
        return {"accuracy": float(hits.float().mean())}


class Plain(Line):
    """Without chance: what is computed in another way has to come out the same."""

    dropout = 0.0


class InPhases(Line):
    phases = (Phase(2, frozen=("0",)), Phase(None, rates={"0": 0.1}))


class Normed(InPhases):
    def module(self):
        return torch.nn.Sequential(
            torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8)),
            torch.nn.ReLU(),
            torch.nn.Linear(8, 2),
        )


class AlwaysNormed(Normed):
    phases = ()


def fit_quietly(recipe, folder, config=None, **options):
    """Fit quietly; returns the lines that were lines."""
    lines = []
    fit(recipe, config or recipe.defaults, folder, folder, report=lines.append, **options)
    return lines


def curve(folder):
    return (folder / "log.csv").read_text().splitlines()


def column(folder, name):
    with (folder / "log.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file)]


class Interrupted(Exception):
    pass


def interrupted_after(epochs):
    def on_epoch(epoch, figures):
        if epoch + 1 == epochs:
            raise Interrupted

    return on_epoch


class Broken(Line):
    """After `good` batches, a loss or a gradient that is no number."""

    def __init__(self, where, good=10):
        self.where, self.good, self.seen = where, good, 0

    def loss(self, module, batch):
        self.seen += 1
        loss = super().loss(module, batch)
        if self.seen <= self.good:
            return loss
        if self.where == "loss":
            return loss * float("nan")
        return loss + (module[0].weight * 0.0).square().sum().sqrt()  # 0 / 0 in its derivative


# What processes say goes to their own output: a list in this one would not hear of it.
class PlainInPhases(Plain):
    phases = InPhases.phases
