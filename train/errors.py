"""Errors of training.

AffectstreamError (engines)
├── DataMissing        a data set is not where it was looked for
├── DataError          a data set's files are not what they should be
├── SplitError         the samples cannot be split as asked, or the parts share what they must not
└── RunError           a run is missing, is another recipe's, would be overwritten, or broke down
"""

from __future__ import annotations

from affectstream.engines.errors import AffectstreamError


class DataMissing(AffectstreamError):
    """A data set is not where it was looked for; the message says what was expected there."""


class DataError(AffectstreamError):
    """A data set's files are not what they should be: columns, labels, values, versions."""


class SplitError(AffectstreamError):
    """The samples cannot be split as asked, or two parts share what they must not."""


class RunError(AffectstreamError):
    """A run is missing, is another recipe's, would be overwritten, or broke down."""
