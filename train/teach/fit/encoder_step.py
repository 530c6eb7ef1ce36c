"""Fits the last layers of encoders too, and gives what the head then predicts.

Which width and number of epochs (early stopping) are used is chosen on people who are held in: in each of a
few folds of them the last layers are fitted to the others. The head is fitted to their outputs for the
held-out folds too (stacking: Wolpert 1992): an encoder is surer of people that it was fitted to than of
others, and a head that was fitted to such outputs would trust it too much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.graphs.batching import run_in_batches
from affectstream.engines.labels import Modality
from affectstream.engines.manifest import Manifest
from affectstream.train.teach.data.encoder_inputs import EncoderInputs, Features, Indices
from affectstream.train.teach.data.evidence import Feeds, evidence_of
from affectstream.train.teach.data.hops import Evidence, Hops
from affectstream.train.teach.fit.choose import INNER, Units, folds, split

if TYPE_CHECKING:
    from affectstream.train.teach.fit.last_layers import LastLayers, Weights

MIN_UNITS = 5
MIN_WINDOWS, MIN_OF_LABEL = 80, 10
"""Windows in which the modality is there, and windows of each of two labels or more."""
WIDTHS = (0.1, 0.3)
STOPS = (2, 5, 10, 20)


def enough(present: NDArray[np.bool_], hops: Hops, units: Units, manifest: Manifest) -> str | None:
    """Why there is too little coded of a modality to fit its encoder; None if there is enough.

    `present` (n,) are the hops that have the modality.
    """
    if units.by == "block":
        return f"one recording of one person, expected {MIN_UNITS} people"
    share = manifest.hop_us / manifest.window_us
    windows = present.sum() * share
    among = len(np.unique(units.numbers[present]))
    if among < MIN_UNITS:
        one, more = ("person", "people") if units.by == "person" else ("recording", "recordings")
        return f"{among} {one if among == 1 else more}, expected {MIN_UNITS}"
    if windows < MIN_WINDOWS:
        minutes = manifest.window_us / 60e6
        return f"{windows * minutes:.1f} minutes, expected {MIN_WINDOWS * minutes:g}"
    counts = np.bincount(hops.truth[present], minlength=len(hops.labels)) * share
    if (common := int((counts >= MIN_OF_LABEL).sum())) < 2:
        return f"{common} labels with {MIN_OF_LABEL} windows or more, expected 2"
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Refitted:
    """Encoders that were fitted to some hops."""

    out_of_fold: Evidence
    """Of these hops, by encoders that were fitted without the person in question."""
    weights: Mapping[Modality, Weights]
    """Of the last layers, fitted to all of them; without the encoders that stay as they are."""
    chosen: Mapping[Modality, str]
    """In words, for each of these."""


@dataclass(frozen=True, slots=True, eq=False)
class EncoderStep:
    """All that is needed to fit the encoders of a bundle to some of its coded hops."""

    bundle: Bundle
    hops: Hops
    feeds: Feeds
    """What the head was given of all hops."""
    inputs: Mapping[Modality, EncoderInputs]
    layers: Mapping[Modality, LastLayers]

    def refit(self, picked: Indices, units: Units, window_s: float) -> Refitted:
        """Fit to the hops `picked`, whose units are `units`."""
        hops = self.hops.rows(picked)
        weights: dict[Modality, Weights] = {}
        chosen: dict[Modality, str] = {}
        feeds = {name: array[picked] for name, array in self.feeds.items()}
        for modality in self.layers:
            found = self._refit_one(modality, picked, hops, units, window_s)
            if found is not None:
                weights[modality], feeds[modality], chosen[modality] = found
        return Refitted(self._evidence(feeds), weights, chosen)

    def evidence(self, picked: Indices, weights: Mapping[Modality, Weights]) -> Evidence:
        """What the head predicts for the hops `picked`, with `weights` in the last layers."""
        return self._evidence(self.feeds_of(picked, weights))

    def feeds_of(self, picked: Indices, weights: Mapping[Modality, Weights]) -> Feeds:
        """What the head is given of the hops `picked`, with `weights` in the last layers."""
        feeds = {name: array[picked] for name, array in self.feeds.items()}
        for modality, own in weights.items():
            feeds[modality] = self._sequence(modality, picked, own)
        return feeds

    def _evidence(self, feeds: Feeds) -> Evidence:
        count = len(next(iter(feeds.values())))
        rows = run_in_batches(self.bundle.engines["fusion"], feeds, count)
        return evidence_of(self.bundle, feeds, np.stack([row["logits"] for row in rows]))

    def _sequence(
        self, modality: Modality, picked: Indices, weights: Weights
    ) -> NDArray[np.float32]:
        """(n, T, D) what the head is given of one modality."""
        inputs, _ = self.inputs[modality].rows(picked)
        old = self.feeds[modality][picked]
        if not inputs.count:
            return np.asarray(old)
        new = self.layers[modality].embeddings(inputs.features, weights)
        return np.where((inputs.index >= 0)[..., None], new[inputs.index], old)

    def _refit_one(
        self, modality: Modality, picked: Indices, hops: Hops, units: Units, window_s: float
    ) -> tuple[Weights, NDArray[np.float32], str] | None:
        """The weights, the head's input by fits without the person, and what was chosen; None where
        nothing is better than leaving the encoder as it is."""
        layers, newest = self.layers[modality], self.inputs[modality].newest[picked]
        labels, share = len(hops.labels), self._share
        parts = []
        for fold in folds(units, INNER):
            train, test = split(hops, units, fold, window_s)
            if (newest[train] >= 0).any():
                parts.append((train[newest[train] >= 0], test[newest[test] >= 0], test))

        def data(rows: Indices) -> tuple[Features, NDArray[np.int64]]:
            return tuple(f[newest[rows]] for f in self.inputs[modality].features), hops.truth[rows]

        losses: dict[tuple[float, int], float] = {}
        fits: list[dict[tuple[float, int], Weights]] = []
        for train, test, _ in parts:
            fits.append({})
            check = data(test) if len(test) else None
            # With width 0 the encoder stays: what is learned beside it may learn as long.
            for width in (0.0, *WIDTHS):
                for stop, (own, loss) in layers.fit(
                    *data(train), labels, len(train) * share, width, STOPS, check
                ).items():
                    losses[width, stop] = losses.get((width, stop), 0.0) + loss * len(test)
                    fits[-1][width, stop] = own
        if not losses:
            return None
        best = min(losses, key=lambda key: losses[key])
        if best[0] == 0.0:
            return None
        found = self.feeds[modality][picked]
        for (_, _, test), one in zip(parts, fits, strict=True):
            found[test] = self._sequence(modality, picked[test], one[best])
        every = np.flatnonzero(newest >= 0)
        weights, _ = layers.fit(*data(every), labels, len(every) * share, best[0], best[1:])[
            best[1]
        ]
        return weights, found, f"width {best[0]:g}, {best[1]} epochs"

    @property
    def _share(self) -> float:
        return self.bundle.manifest.hop_us / self.bundle.manifest.window_us
