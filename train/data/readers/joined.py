"""Several prepared data sets as one: the corpora that one network learns from.

A folder holds prepared data sets, each in a sub-folder. Every sample keeps its split, so that each set is
split as it has to be (by actor, by speaker) when it is prepared itself.
"""

from __future__ import annotations

from pathlib import Path

from affectstream.train.data.dataset import Dataset
from affectstream.train.data.options import Options
from affectstream.train.data.reading.reader import RawDataset, Reader, find_prepared, prepared_again
from affectstream.train.data.sample import Sample
from affectstream.train.errors import DataError, DataMissing


def find(folder: Path, options: Options) -> RawDataset:
    """All samples of the prepared sets in `folder`; the name of a set's folder begins their ids. Raises
    `DataMissing` for fewer than two sets, `DataError` for sets whose pictures were cropped differently."""
    sets = find_prepared(folder)
    if len(sets) < 2:
        raise DataMissing(
            f"{folder} holds {len(sets)} prepared data sets, expected two or more, each made with "
            "'affectstream train prepare'"
        )
    crops = {data.info.crop: data.info.name for data in sets if data.info.crop is not None}
    if len(crops) > 1:
        raise DataError(
            f"{folder}: the pictures of {' and '.join(crops.values())} were cropped differently: prepare "
            "them with the same --crop and --size"
        )
    return prepared_again(sets, _name)


def _name(corpus: Dataset, sample: Sample) -> None:
    sample.id = f"{corpus.folder.name}/{sample.id}"


READER = Reader(find)
