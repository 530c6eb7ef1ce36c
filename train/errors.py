"""Errors of training.

AffectstreamError (engines)
├── DataMissing        a data set is not where it was looked for
└── RunError           a run is missing, is another recipe's, or would be overwritten
"""

from __future__ import annotations

from affectstream.engines.errors import AffectstreamError


class DataMissing(AffectstreamError):
    """A data set is not where it was looked for; the message says what was expected there."""


class RunError(AffectstreamError):
    """A run is missing, is another recipe's, or would be overwritten."""
