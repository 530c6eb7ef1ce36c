"""Errors of bundles and engines.

AffectstreamError
├── UsageError         the command line or an argument is wrong
├── BundleError        a bundle's manifest or files are wrong
└── EngineError        a graph cannot be opened, or its inputs are wrong
    ├── DeviceError    the requested device cannot be used
    ├── BuildError     no plan can be built of a graph
    └── PlanError      a plan on disk is damaged or not safe to load
Every message names the thing, what was found, what was expected and what to do.
"""

from __future__ import annotations


class AffectstreamError(Exception):
    """An error that a user can fix; the command line prints its text without a traceback."""


class UsageError(AffectstreamError):
    """The command line, or an argument, is malformed or names something that does not exist."""


class BundleError(AffectstreamError):
    """A bundle's manifest or files are missing, damaged or inconsistent."""


class EngineError(AffectstreamError):
    """A graph cannot be opened, or its inputs do not match its specification."""


class DeviceError(EngineError):
    """The requested device cannot be used; no other device is tried instead."""


class BuildError(EngineError):
    """No plan can be built: the builder rejects the graph, a profile or an option."""


class PlanError(EngineError):
    """A plan on disk was changed, or other users can write it: it is not loaded."""
