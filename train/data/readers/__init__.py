"""The data sets that `train prepare` reads: one module each, named after the set, with a `READER`.

Another package adds a set as an entry point ``affectstream.datasets`` that leads to its `Reader`.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from affectstream.engines.plugins import load_plugin, plugin_names
from affectstream.stream.errors import OptionError

if TYPE_CHECKING:
    from affectstream.train.data.reading.reader import Reader


def reader_names() -> list[str]:
    """The names of the data sets. Imports none of their modules, so that the command line starts fast."""
    return sorted({*_own_names(), *plugin_names("affectstream.datasets")})


def load_reader(name: str) -> Reader:
    """The reader of a data set. Raises `OptionError` for an unknown one."""
    if name not in reader_names():
        raise OptionError(f"SET {name!r}: expected one of {', '.join(reader_names())}")
    reader: Reader
    if name in _own_names():
        reader = importlib.import_module(f"{__name__}.{name}").READER
    else:
        reader = load_plugin("affectstream.datasets", name)
    return reader


def _own_names() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__)]
