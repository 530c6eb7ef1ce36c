"""Errors of bundles and engines.

AffectstreamError
├── BundleError        a bundle's manifest or files are not what they should be
└── EngineError        a graph could not be opened or was fed wrongly
    └── DeviceError    the device asked for is not there
Every message says which thing, what was found, what was expected and what to do.
"""

from __future__ import annotations


class AffectstreamError(Exception):
    """Anything that a user can mend; the command line prints its text and no traceback."""


class BundleError(AffectstreamError):
    """A bundle's manifest or files are not what they should be."""


class EngineError(AffectstreamError):
    """A graph could not be opened, or was fed something its specification does not allow."""


class DeviceError(EngineError):
    """The device that was asked for is not there; nothing else is tried in its place."""
