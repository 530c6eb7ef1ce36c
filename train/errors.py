"""Errors of training, each an `AffectstreamError`."""

from __future__ import annotations

from affectstream.engines.errors import AffectstreamError


class DataMissing(AffectstreamError):
    """A data set was not found; the message says what was expected."""


class DataError(AffectstreamError):
    """The files of a data set are not as expected: columns, labels, values, versions."""


class SplitError(AffectstreamError):
    """The samples cannot be split as requested, or splits have samples or participants in common."""


class WeightsMissing(AffectstreamError):
    """Pretrained weights were not found and cannot be downloaded; the message says how to get them."""


class WeightsError(AffectstreamError):
    """Pretrained weights are damaged, or do not belong to the network."""


class RunError(AffectstreamError):
    """A run is missing, is of another recipe, would be overwritten, or failed."""


class ParityError(AffectstreamError):
    """An exported graph and its network disagree by more than rounding."""


def first_line(error: BaseException) -> str:
    """The first line of the message of another library's error."""
    if isinstance(error, KeyError):  # its message is the key alone
        key = error.args[0] if error.args else None
        # Of a file that is none, unpickling asks for numbers.
        return f"it has no {key!r}" if isinstance(key, str) else "it is damaged, or of another kind"
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if line.startswith("Weights only load failed"):  # torch would advise to load unsafely
        return "it is no archive of tensors and plain values"
    return line
