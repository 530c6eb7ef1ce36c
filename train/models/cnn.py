"""`cnn`: three convolution blocks and a large linear layer, trained from scratch.

The "improved CNN" of the reports: 3-32-64-128 channels, 3x3, BatchNorm, ReLU, 2x2 pooling, 2-D dropout
.3 and .4 (after the second and third block: where, the reports leave open), average pooling to 7x7,
dropout .7, linear 6272-256, dropout .5, head. Nearly all of its numbers are in that one linear layer.
"""

from __future__ import annotations

from torch import Tensor, nn

from affectstream.train.face import FaceBody, FaceRecipe
from affectstream.train.recipe import FitConfig

GRID = 7


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    # No bias: BatchNorm would take it off again.
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]


class Cnn(FaceBody):
    """Standardised pictures (N, 3, S, S) float32 to embeddings (N, `width`); S a multiple of 56."""

    def __init__(
        self, size: int = 224, widths: tuple[int, int, int] = (32, 64, 128), width: int = 256
    ) -> None:
        super().__init__()
        first, second, third = widths
        self.width = width
        self.blocks = nn.Sequential(
            *_block(3, first),
            *_block(first, second),
            nn.Dropout2d(0.3),
            *_block(second, third),
            nn.Dropout2d(0.4),
            # What an adaptive pool to 7x7 is at a fixed size, in an operator that every runtime has.
            nn.AvgPool2d(size // 8 // GRID),
        )
        self.embedding = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.7), nn.Linear(third * GRID * GRID, width), nn.ReLU()
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        return self.embedding(self.blocks(pictures))


RECIPE = FaceRecipe(
    name="cnn",
    summary="face encoder: three convolution blocks, from scratch, any prepared faces",
    defaults=FitConfig(epochs=30, batch_size=64, learning_rate=1e-4, weight_decay=1e-2),
    body=Cnn,
    dropout=0.5,
    multiple=8 * GRID,
)
