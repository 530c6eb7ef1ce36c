"""Errors of bundles and engines.

AffectstreamError
├── UsageError         what was asked for is not something that can be asked for
├── BundleError        a bundle's manifest or files are not what they should be
└── EngineError        a graph could not be opened or was fed wrongly
    ├── DeviceError    the device asked for is not there
    ├── BuildError     no plan could be built of a graph
    └── PlanError      a plan that was built is not to be trusted
Every message says which thing, what was found, what was expected and what to do.
"""

from __future__ import annotations


class AffectstreamError(Exception):
    """Anything that a user can mend; the command line prints its text and no traceback."""


class UsageError(AffectstreamError):
    """The command line, or an argument, names something that does not exist or is written wrongly."""


class BundleError(AffectstreamError):
    """A bundle's manifest or files are not what they should be."""


class EngineError(AffectstreamError):
    """A graph could not be opened, or was fed something its specification does not allow."""


class DeviceError(EngineError):
    """The device that was asked for is not there; nothing else is tried in its place."""


class BuildError(EngineError):
    """No plan could be built: the graph, a profile or an option is not what the builder takes."""


class PlanError(EngineError):
    """A plan on disk is not what was built, or lies where others can write: it is not loaded."""
