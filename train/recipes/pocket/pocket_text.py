"""`pocket_text`: the text encoder of the pocket bundle, one utterance of up to 64 pieces.

Two parts in one graph, whose logits add up. A logistic regression over pieces and pairs of pieces
(`ngrams`) is fitted first. A small convolutional network is then trained on top of the regression's
logits for lines that it was *not* fitted to (cross-fitting by dialogue), so it corrects the regression's
errors on new text.

Training weights the labels as if their frequencies were MELD's to the power 0.6, between MELD's prior
(nearly half is neutral) and a flat one. The logits have that prior (`prior` of the recipe): add
``log(natural / prior)`` for MELD's own prior, subtract ``log(prior)`` for a flat one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from tokenizers import Tokenizer
from torch import Tensor, nn

from affectstream.engines.labels import EMOTIONS_7
from affectstream.train.data.readers import meld
from affectstream.train.data.sample import Sample
from affectstream.train.fit.checkpoint import load_best
from affectstream.train.networks.tokenizer import encode, parents, split_pieces, train_tokenizer
from affectstream.train.onnx.onnx_export import to_onnx
from affectstream.train.recipe import Batch, FitConfig, Loaders
from affectstream.train.recipes.pocket.batches import shuffled
from affectstream.train.recipes.pocket.ngrams import NGrams, fit_ngrams

PIECES, ROWS = 1_500, 16_384
WIDTH, FILTERS, HIDDEN = 96, 96, 121
EMBEDDING = HIDDEN + len(EMOTIONS_7)
_COUNTS = (4710, 1109, 271, 268, 1743, 683, 1205)
"""Lines of each of `EMOTIONS_7` in MELD's training split."""
NATURAL = tuple(count / sum(_COUNTS) for count in _COUNTS)
_POWER = 0.6
_WEIGHTS = tuple(chance ** (_POWER - 1.0) for chance in NATURAL)


class PocketText(nn.Module):
    """Tokens to an embedding and emotion logits. `tokenizer` (JSON) travels in the checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = ""
        self.ngrams = NGrams(PIECES, ROWS, len(EMOTIONS_7))
        self.words = nn.Embedding(PIECES, WIDTH)
        nn.init.normal_(self.words.weight, std=0.1)
        self.widths = nn.ModuleList(nn.Conv1d(WIDTH, FILTERS, k, padding=k - 1) for k in (1, 2, 3))
        self.attend = nn.Linear(3 * FILTERS, 1)
        self.project = nn.Linear(6 * FILTERS, HIDDEN)
        self.head = nn.Linear(EMBEDDING, len(EMOTIONS_7))
        # Initially the logits are nearly the regression's.
        nn.init.normal_(self.head.weight, std=0.01)
        with torch.no_grad():
            self.head.weight[:, HIDDEN:] = torch.eye(len(EMOTIONS_7))
        self.dropout = nn.Dropout(0.5)

    def get_extra_state(self) -> Tensor:
        """The tokenizer as bytes, for `state_dict` (torch's exporter allows tensors only)."""
        return torch.tensor(list(self.tokenizer.encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Any) -> None:
        """The tokenizer, from `load_state_dict`."""
        self.tokenizer = bytes(state.tolist()).decode()

    def correct(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The network's features (N, `HIDDEN`) float32, >= 0, from tokens (N, T) and their mask."""
        x = self.words(ids * mask)
        if self.training:  # drop whole pieces, then single numbers
            kept = (torch.rand(ids.shape, device=x.device) > 0.15).unsqueeze(2)
            x = F.dropout(x * kept, 0.4)
        x = (x * mask.unsqueeze(2)).transpose(1, 2)
        found = [F.relu(conv(x))[:, :, : x.shape[2]] for conv in self.widths]
        features = torch.cat(found, 1) * mask.unsqueeze(1)
        scores = self.attend(features.transpose(1, 2)).squeeze(2)
        # Not -inf: a text without pieces must stay finite.
        weights = torch.where(mask, scores, torch.full_like(scores, -1e4)).softmax(1)
        attended = torch.matmul(features, weights.unsqueeze(2)).squeeze(2)
        return F.relu(self.project(self.dropout(torch.cat([features.amax(2), attended], 1))))

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (N, 64) int64 and mask (N, 64) bool to embeddings (N, D) and logits (N, 7).

        The last seven numbers of the embedding are the regression's logits.
        """
        embedding = torch.cat([self.correct(ids, mask), self.ngrams(ids, mask)], 1)
        return embedding, self.head(embedding)


def _augmented(
    parents: Mapping[int, tuple[int, int]], batch: dict[str, Tensor], generator: torch.Generator
) -> Batch:
    """A batch with some pieces split, so that the network learns words by their parts too."""
    ids, mask = split_pieces(batch["ids"], batch["mask"], parents, 0.12, generator)
    longest = int(mask.sum(1).max())
    return {**batch, "ids": ids[:, :longest], "mask": mask[:, :longest]}


class PocketTextRecipe:
    """Trained on MELD train; MELD dev chooses the epoch."""

    name = "pocket_text"
    summary = "text encoder of `pocket`: n-gram regression corrected by a small network, MELD"
    defaults = FitConfig(
        epochs=8,
        batch_size=128,
        learning_rate=2e-3,
        weight_decay=5e-2,
        warmup_epochs=1.0,
        ema_decay=0.997,
    )
    prior = tuple(chance**_POWER / sum(other**_POWER for other in NATURAL) for chance in NATURAL)
    """Prior of each of `EMOTIONS_7` that results from the training weights."""

    def __init__(self) -> None:
        self._start: dict[str, Any] | None = None

    def loaders(self, data: Path, config: FitConfig) -> Loaders:
        """Train the tokenizer and the regression (the next `module()` starts from them), encode MELD."""
        lines = meld.read(data, "train")
        texts = _texts(lines)
        labels = np.array([EMOTIONS_7.index(str(line.emotion)) for line in lines])
        dialogues = _dialogues(lines)
        tokenizer = train_tokenizer(texts, PIECES)
        ids, mask = encode(tokenizer, texts)
        fresh = PocketText()
        weights = np.array(_WEIGHTS)[labels]
        unseen = fit_ngrams(fresh.ngrams, (ids, mask), labels, weights, dialogues)
        regression = fresh.ngrams.state_dict(prefix="ngrams.")
        fresh.tokenizer = tokenizer.to_str()
        self._start = {"_extra_state": fresh.get_extra_state(), **regression}
        train = {"ids": ids, "mask": mask, "unseen": unseen, "label": torch.from_numpy(labels)}
        held = meld.read(data, "dev")
        valid = {**_encoded(held, tokenizer), "rival_f1": torch.tensor(rival_f1(lines, held))}
        augmented = partial(_augmented, parents(tokenizer))
        return Loaders(shuffled(train, config, augmented), [valid])

    def module(self) -> nn.Module:
        """A network with random weights; after `loaders` with its tokenizer and regression."""
        module = PocketText()
        if self._start is not None:
            module.load_state_dict(self._start, strict=False)
        return module

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Weighted cross entropy, with the regression's logits for unseen lines."""
        assert isinstance(module, PocketText)
        features = module.correct(batch["ids"], batch["mask"])
        logits = module.head(torch.cat([features, batch["unseen"]], 1))
        weight = torch.tensor(_WEIGHTS, device=logits.device)
        return F.cross_entropy(logits, batch["label"], weight=weight)

    def validate(self, module: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        """Weighted F1 and accuracy under the training prior and MELD's, the rival's F1, and F1 by class."""
        logits = torch.cat([module(b["ids"], b["mask"])[1] for b in batches])
        shift = (torch.tensor(NATURAL) / torch.tensor(self.prior)).log()
        guess, natural = logits.argmax(1).numpy(), (logits + shift).argmax(1).numpy()
        truth = torch.cat([b["label"] for b in batches]).numpy()
        numbers = range(len(EMOTIONS_7))
        each = f1_score(truth, guess, labels=list(numbers), average=None, zero_division=0.0)
        return {
            "f1": float(f1_score(truth, guess, average="weighted", zero_division=0.0)),
            "f1_natural": float(f1_score(truth, natural, average="weighted", zero_division=0.0)),
            "accuracy": float((guess == truth).mean()),
            "accuracy_natural": float((natural == truth).mean()),
            "rival_f1": float(batches[0]["rival_f1"]) if "rival_f1" in batches[0] else math.nan,
            **{f"f1_{EMOTIONS_7[k]}": float(each[k]) for k in numbers},
        }

    def export(self, module: nn.Module, folder: Path) -> list[Path]:
        """Write `text_encoder.onnx` and `tokenizer.json`."""
        assert isinstance(module, PocketText)
        if not module.tokenizer:
            raise ValueError("this network has no tokenizer: export one that was trained")
        tokenizer = folder / "tokenizer.json"
        tokenizer.write_text(module.tokenizer, encoding="utf-8")
        path = folder / "text_encoder.onnx"
        sample = encode(Tokenizer.from_str(module.tokenizer), ["Oh my God, no!", ""])
        to_onnx(module, sample, path, inputs=["ids", "mask"], outputs=["embedding", "logits"])
        return [path, tokenizer]


def rival_f1(train: Sequence[Sample], held: Sequence[Sample]) -> float:
    """Weighted F1 of TF-IDF with balanced logistic regression, the best simple rival we found."""
    words = r"'[a-z]+|[^\W_]+|[^\w\s']+"
    vectors = TfidfVectorizer(ngram_range=(1, 3), sublinear_tf=True, token_pattern=words, min_df=2)
    features = vectors.fit_transform([text.replace("\u2019", "'") for text in _texts(train)])
    model = LogisticRegression(C=4.0, max_iter=300, class_weight="balanced")
    model.fit(features, [line.emotion for line in train])
    held_out = vectors.transform([text.replace("\u2019", "'") for text in _texts(held)])
    truth = [line.emotion for line in held]
    return float(f1_score(truth, model.predict(held_out), average="weighted"))


def validation_tokens(
    data: Path, run: Path
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """MELD dev by the tokenizer of the run in `run`: ids (N, 64) int64, mask (N, 64) bool, label and dialogue
    numbers (N,) int64."""
    module, _ = load_best(RECIPE, run)
    assert isinstance(module, PocketText)
    lines = meld.read(data, "dev")
    batch = _encoded(lines, Tokenizer.from_str(module.tokenizer))
    dialogues = _dialogues(lines)
    return batch["ids"].numpy(), batch["mask"].numpy(), batch["label"].numpy(), dialogues


def _encoded(lines: Sequence[Sample], tokenizer: Tokenizer) -> dict[str, Tensor]:
    ids, mask = encode(tokenizer, _texts(lines))
    labels = torch.tensor([EMOTIONS_7.index(str(line.emotion)) for line in lines])
    return {"ids": ids, "mask": mask, "label": labels}


def _texts(lines: Sequence[Sample]) -> list[str]:
    return [line.text or "" for line in lines]


def _dialogues(lines: Sequence[Sample]) -> NDArray[np.int64]:
    """The numbers at the end of names such as ``train-12``."""
    return np.array([int(str(line.dialogue).rpartition("-")[2]) for line in lines])


RECIPE = PocketTextRecipe()
