"""Errors of training.

AffectstreamError (engines)
├── DataMissing        a data set is not where it was looked for
├── DataError          a data set's files are not what they should be
├── SplitError         the samples cannot be split as asked, or the parts share what they must not
├── WeightsMissing     pretrained weights are neither here nor to be fetched
├── WeightsError       pretrained weights are not a network's, or another network's
├── RunError           a run is missing, is another recipe's, would be overwritten, or broke down
└── ParityError        an exported graph does not say what its network says
"""

from __future__ import annotations

from affectstream.engines.errors import AffectstreamError


class DataMissing(AffectstreamError):
    """A data set is not where it was looked for; the message says what was expected there."""


class DataError(AffectstreamError):
    """A data set's files are not what they should be: columns, labels, values, versions."""


class SplitError(AffectstreamError):
    """The samples cannot be split as asked, or two parts share what they must not."""


class WeightsMissing(AffectstreamError):
    """Pretrained weights are neither here nor to be fetched; the message says how to get them."""


class WeightsError(AffectstreamError):
    """What was given as pretrained weights is damaged, or is not of the network it was given for."""


class RunError(AffectstreamError):
    """A run is missing, is another recipe's, would be overwritten, or broke down."""


class ParityError(AffectstreamError):
    """An exported graph and the network that it was made of disagree by more than rounding."""


def first_line(error: BaseException) -> str:
    """What an error of another library says, without the rest."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    if said.startswith(
        "Weights only load failed"
    ):  # torch goes on with advice that nobody should take
        return "it is no archive of tensors and plain values"
    return said
