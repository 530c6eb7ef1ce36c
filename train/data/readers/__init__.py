"""The data sets that `train prepare` reads: one module each, named after the set, with a `READER`."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from affectstream.stream.errors import OptionError

if TYPE_CHECKING:
    from affectstream.train.data.reading.reader import Reader


def reader_names() -> list[str]:
    """The names of the data sets. Imports none of their modules, so that the command line starts fast."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_reader(name: str) -> Reader:
    """The reader of a data set. Raises `OptionError` for an unknown one."""
    if name not in reader_names():
        raise OptionError(f"SET {name!r}: expected one of {', '.join(reader_names())}")
    reader: Reader = importlib.import_module(f"{__name__}.{name}").READER
    return reader
