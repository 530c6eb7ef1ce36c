"""The last layers of an encoder, fitted to coded hops and drawn towards what they were.

The layers below are frozen, so their outputs are computed once. A weight has a Gaussian prior around its old
value (L2-SP: Li, Grandvalet, Davoine, Explicit Inductive Bias for Transfer Learning with Convolutional
Networks, ICML 2018), whose width is a share of the size of its layer's weights. The head of the network stays
as it is. Three things are learned beside it: how sure it is, how frequent each label is, and weights from the
embedding to the scores of new labels. They are dropped afterwards: the correction of the bundle's own head
fits its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.shapes import ENCODER_ROLES
from affectstream.engines.bundle.training import TrainingPart, training_parts
from affectstream.engines.labels import MODALITIES, Modality
from affectstream.engines.spec import Array
from affectstream.train.explain.trained import load_trained
from affectstream.train.networks.network import Encoder, Network
from affectstream.train.onnx.engine_files import ServedHead, served_head
from affectstream.train.recipes.net_recipe import NetRecipe
from affectstream.train.teach.data.encoder_inputs import Features

Weights = Mapping[str, Tensor]
"""Those of the last layers by name."""
BATCH = 128
RATE, FREE_RATE = 5e-4, 2e-2
"""Learning rates of the last layers, and of what is dropped afterwards."""
WARM_UP = 40
"""Steps of what is dropped afterwards before the last layers learn too."""
NEW_WIDTH = 0.3
"""Standard deviation of the prior of the weights of a new label."""
TOLERANCE = 0.15
"""Largest difference between the embeddings of the network and of the bundle's engine, as a share of their
size (Euclidean). Weights that the engine stores in 8 bits make 5 %, another network 100 % and more."""


@dataclass(frozen=True, slots=True, eq=False)
class LastLayers:
    """The encoder of one modality, with its network."""

    modality: Modality
    part: TrainingPart
    recipe: NetRecipe
    network: Network
    labels: tuple[str, ...]
    """Those of its head."""

    @property
    def encoder(self) -> Encoder:
        """In evaluation mode."""
        encoder = getattr(self.network, self.modality)
        assert isinstance(encoder, Encoder)
        return encoder

    @property
    def old(self) -> Weights:
        """The weights as they were."""
        return _last(self.encoder)

    def features(self, inputs: Mapping[str, Array], found: Array) -> Features:
        """What the last layers take, for the `inputs` of the engine and the embeddings that it `found`.

        Raises `ValueError` if the network gives other embeddings.
        """
        with torch.no_grad():
            given = [torch.from_numpy(np.ascontiguousarray(array)) for array in inputs.values()]
            features = self.encoder.features(*given)
            own = self.encoder.finish(*features).flatten(1).numpy()
        size = max(float(np.linalg.norm(found)), float(np.finfo(np.float32).tiny))
        difference = float(np.linalg.norm(own - found)) / size
        if difference > TOLERANCE:
            raise ValueError(f"its embeddings differ by {difference:.0%} from those of the engine")
        # Maps of pictures are many numbers.
        return tuple(one.half() if one.dim() > 2 else one for one in features)

    def embeddings(self, features: Features, weights: Weights) -> NDArray[np.float32]:
        """(n, D) with other `weights` in the last layers."""
        encoder = copy.deepcopy(self.encoder)
        encoder.load_state_dict(dict(weights), strict=False)
        parts = []
        with torch.no_grad():
            for at in range(0, len(features[0]), 512):
                rows = [one[at : at + 512].float() for one in features]
                parts.append(encoder.finish(*rows).flatten(1))
        return torch.cat(parts).numpy()

    def fit(
        self,
        features: Features,
        truth: NDArray[np.int64],
        labels: int,
        windows: float,
        width: float,
        stops: Sequence[int],
        check: tuple[Features, NDArray[np.int64]] | None = None,
    ) -> dict[int, tuple[Weights, float]]:
        """The weights after each of the epochs `stops`, with the mean loss (nats) of `check`, 0 without.

        `features` (n, ...) and `truth` (n,) are of hops which amount to `windows` independent windows; there
        are `labels` labels, new ones last.
        """
        generator = torch.Generator().manual_seed(0)
        fit = _Fit(self, truth, labels, width)
        target = torch.from_numpy(truth)
        fit.warm_up(features, target, windows)
        scores_of: Callable[[Sequence[Tensor]], Tensor] = fit.scores
        if not width:  # the encoder stays, so its embeddings are computed once
            features, scores_of = (fit.embedding(features),), fit.scores_of_embedding
            check = None if check is None else ((fit.embedding(check[0]),), check[1])
        found: dict[int, tuple[Weights, float]] = {}
        for epoch in range(1, max(stops) + 1):
            for rows in torch.randperm(len(truth), generator=generator).split(BATCH):
                scores = scores_of([one[rows].float() for one in features])
                loss = F.cross_entropy(scores, target[rows]) + fit.penalty() / windows
                fit.optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                fit.optimizer.step()
            if epoch in stops:
                loss_of_check = 0.0
                if check is not None:
                    with torch.no_grad():
                        scores = scores_of([one.float() for one in check[0]])
                        loss_of_check = float(F.cross_entropy(scores, torch.from_numpy(check[1])))
                found[epoch] = _last(fit.encoder), loss_of_check
        return found


class _Fit:
    """What learns."""

    def __init__(
        self, layers: LastLayers, truth: NDArray[np.int64], labels: int, width: float
    ) -> None:
        self.encoder = copy.deepcopy(layers.encoder).eval()
        self.modality = layers.modality
        self.head: ServedHead = served_head(layers.network, layers.recipe.spec)
        self.known = len(layers.labels)
        counts = np.bincount(truth, minlength=labels) + 1.0
        self.bias = nn.Parameter(torch.from_numpy(np.log(counts / counts.sum())).float())
        self.scale = nn.Parameter(torch.zeros(()))
        self.new = nn.Parameter(torch.zeros(int(self.encoder.width), labels - self.known))  # type: ignore[arg-type]
        free = [self.bias, self.scale, self.new]
        self.drawn: list[tuple[nn.Parameter, Tensor, float]] = []
        for name, parameter in self.encoder.named_parameters():
            learns = width > 0 and name.startswith(tuple(layers.encoder.last_layers))
            parameter.requires_grad_(learns)
            if learns:
                before = parameter.detach().clone()
                size = max(1e-3, float(before.square().mean().sqrt()))
                self.drawn.append((parameter, before, width * size))
        groups: list[dict[str, Any]] = [{"params": free, "lr": FREE_RATE}]
        if self.drawn:
            groups.append({"params": [one for one, _, _ in self.drawn], "lr": RATE})
        self.optimizer = torch.optim.Adam(groups)

    def warm_up(self, features: Features, target: Tensor, windows: float) -> None:
        """Fit what is dropped afterwards first, so that the last layers do not learn it."""
        embedding = self.embedding(features)
        optimizer = torch.optim.Adam([self.bias, self.scale, self.new], 0.1)
        for _ in range(WARM_UP):
            loss = F.cross_entropy(self._scores(embedding), target) + self.penalty() / windows
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    def embedding(self, features: Features) -> Tensor:
        """(n, D) with the weights as they are now."""
        with torch.no_grad():
            parts = zip(*(one.split(512) for one in features), strict=True)
            return torch.cat(
                [self.encoder.finish(*(one.float() for one in part)).flatten(1) for part in parts]
            )

    def scores(self, features: Sequence[Tensor]) -> Tensor:
        """(n, labels)"""
        return self._scores(self.encoder.finish(*features).flatten(1))

    def scores_of_embedding(self, embedding: Sequence[Tensor]) -> Tensor:
        """The same from the embeddings alone."""
        return self._scores(embedding[0])

    def _scores(self, embedding: Tensor) -> Tensor:
        mask = torch.ones(len(embedding), 1, dtype=torch.bool)
        outputs = self.head(embedding.unsqueeze(1), mask)
        logits = outputs[self.head.outputs.index("logits")]
        old = logits * self.scale.exp()
        return torch.cat([old, embedding @ self.new], 1) + self.bias

    def penalty(self) -> Tensor:
        """Half the squared distance from the old weights, in widths of the prior."""
        found = 0.5 * (self.new / NEW_WIDTH).square().sum()
        for parameter, before, width in self.drawn:
            found = found + 0.5 * ((parameter - before) / width).square().sum()
        return found


def _last(encoder: Encoder) -> Weights:
    prefixes = tuple(encoder.last_layers)
    return {
        name: value.detach().clone()
        for name, value in encoder.state_dict().items()
        if name.startswith(prefixes)
    }


def find_last_layers(bundle: Bundle, note: Callable[[str], None]) -> dict[Modality, LastLayers]:
    """The encoders of `bundle` whose last layers can be fitted; why others cannot is noted.

    Raises `BundleError` for weights that were changed, `RunError` for those of another version.
    """
    found: dict[Modality, LastLayers] = {}
    for part in training_parts(bundle.folder, bundle.manifest):
        own = [modality for modality in MODALITIES if ENCODER_ROLES[modality] in part.engines]
        part.check()
        if not own:
            continue
        if part.weights_sha256 is None:
            note(
                f"the {' and '.join(own)} encoder stays as it is: its weights are not in training/ "
                "(docs/reference/bundles.md says how to have them)"
            )
            continue
        trained = load_trained(part.folder)
        network = trained.network
        task = trained.recipe.spec.task("emotion")
        for modality in own:
            encoder = getattr(network, modality)
            if not encoder.last_layers or network.head.takes != (modality,) or task is None:
                note(
                    f"the last layers of the {modality} encoder ({part.recipe}) cannot be fitted alone"
                )
            elif task.labels != bundle.manifest.labels[: len(task.labels)]:
                note(f"the {modality} encoder learned other labels ({', '.join(task.labels)})")
            else:
                found[modality] = LastLayers(
                    modality, part, trained.recipe, network, tuple(task.labels)
                )
    return found
