"""Crops for training, cut by the face engines of ``pocket`` and by `stream.faces.crop`, as in serving.

Of several faces in a picture the largest is cut. Without one there is no `face` or `person` crop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby, islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.manifest import CropKind
from affectstream.stream.faces.crop import align_face, frame_crop, person_crop, scaled_template
from affectstream.stream.faces.detection.find import FaceFinder
from affectstream.stream.faces.face import Face

BATCH = 4
Key = TypeVar("Key")
Picture = NDArray[np.uint8]


class Cropper(ExitStack):
    """Cuts one kind of crop. The face engines, those of ``pocket``, open with the first picture."""

    def __init__(self, kind: CropKind, size: int, threads: int = 1) -> None:
        super().__init__()
        self.kind, self.size = kind, size
        self.template = scaled_template(size)
        self._threads = threads
        self._finder: FaceFinder | None = None

    def cut_each(
        self, pictures: Iterable[tuple[Key, Picture]]
    ) -> Iterator[tuple[Key, Picture | None]]:
        """The key and the crop of each (key, picture), in order, with `BATCH` pictures in memory."""
        for _, alike in groupby(pictures, key=lambda pair: pair[1].shape):
            while batch := list(islice(alike, BATCH)):
                keys, shown = zip(*batch, strict=True)
                yield from zip(keys, self.cut(shown), strict=True)

    def cut(self, pictures: Sequence[Picture]) -> list[Picture | None]:
        """The crop of each RGB picture (H, W, 3) uint8; None without a face."""
        if self.kind == "frame":
            return [frame_crop(rgb, self.size) for rgb in pictures]
        found = self._open().find(pictures) if pictures else []
        return [
            self._largest(rgb, faces) if faces else None
            for rgb, faces in zip(pictures, found, strict=True)
        ]

    def _largest(self, rgb: Picture, faces: Sequence[Face]) -> Picture:
        face = max(faces, key=lambda f: (f.box[2] - f.box[0]) * (f.box[3] - f.box[1]))
        if self.kind == "person":
            return person_crop(rgb, face.box, self.size)
        return align_face(rgb, face.landmarks, np.asarray(self.template, np.float32), self.size)

    def _open(self) -> FaceFinder:
        if self._finder is None:
            bundle = self.enter_context(Bundle.open("pocket", threads=self._threads))
            self._finder = FaceFinder.from_bundle(bundle)
            assert self._finder is not None  # pocket detects faces
        return self._finder
