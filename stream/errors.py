"""Errors of sources and outputs.

AffectstreamError (engines)
├── SourceError        a recording or device cannot be opened or used
├── OutputError        a result cannot be written
├── ProcessDied        a process that does a part of the work died
└── UsageError (engines)
    └── OptionError    options that do not fit the input or each other
"""

from __future__ import annotations

from affectstream.engines.errors import AffectstreamError, UsageError

__all__ = [
    "AffectstreamError",
    "OptionError",
    "OutputError",
    "ProcessDied",
    "SourceError",
    "UsageError",
]


class SourceError(AffectstreamError):
    """A recording or device cannot be opened, or holds nothing that can be used."""


class OutputError(AffectstreamError):
    """A result cannot be written. No incomplete file is left under its name."""


class ProcessDied(AffectstreamError):
    """A process that does a part of the work died again and again."""


class OptionError(UsageError):
    """Options that do not fit the input or each other."""
