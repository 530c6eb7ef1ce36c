"""`evidence`: bundles of one modality each, joined by a gain for each and a bias for each class and member.

    logits = sum over present members m of  gain_m * logits_m + bias_m

The logits of a member are for a uniform prior: a log-likelihood ratio, apart from a gain and a bias that its
training set left in it. Given the label, what a face shows and what a voice tells are nearly independent, and
the best fusion of independent evidence is this sum. An absent member adds nothing.

Fit it on samples that no member was trained on (`train prepare paired --part valid`): networks are
overconfident on their training data. ``train export --merge`` turns the members into one bundle.
"""

from __future__ import annotations

from affectstream.train.config import FitConfig
from affectstream.train.late_fusion.recipe import FusionRecipe

RECIPE = FusionRecipe(
    name="evidence",
    summary="bundles of one modality each (--member DIR), a gain and a bias for each class",
    defaults=FitConfig(
        epochs=30,
        batch_size=256,
        learning_rate=1e-2,
        weight_decay=0.0,
        ema_decay=0.98,
        class_weights=True,
        modality_dropout=0.4,
        monitor="valid_loss",
    ),
    biases="member",
    options={},
)
