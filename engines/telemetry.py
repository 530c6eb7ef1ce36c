"""Sends the stages of the pipeline as OpenTelemetry spans to a collector, where the user asks for it.

OpenTelemetry's own environment variables name the collector, such as ``OTEL_EXPORTER_OTLP_ENDPOINT``; the
default is one on this machine. Spans hold the name of a stage, its times, its thread and how many
rows it worked on: no names of files, no results, nothing of a recording.

Spans of ten seconds are one trace, so that a server of hours has no endless one.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from affectstream.engines.errors import UsageError
from affectstream.engines.extras import install_hint
from affectstream.engines.spans import Stage, recording

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_log = logging.getLogger(__name__)
_TRACE_S = 10.0
_CLOSE_S = 2.0
"""How long the last spans may take at the end."""
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
"""The first that is set and not empty counts, as OpenTelemetry specifies."""


class Telemetry:
    """Passes spans of all threads on to an OpenTelemetry provider, as they end."""

    def __init__(self, provider: TracerProvider, command: str) -> None:
        """`command` names the traces, such as ``affectstream serve``."""
        self._tracer = provider.get_tracer("affectstream", version("affectstream"))
        self._command = command
        self._epoch_s = time.time() - time.perf_counter()
        self._lock = threading.Lock()
        self._root: Span | None = None
        self._until_s = self._last_s = 0.0

    def add(self, stage: Stage, start_s: float, end_s: float, rows: int = 0) -> None:
        """Pass one span on. Any thread may call this."""
        from opentelemetry.trace import set_span_in_context

        attributes: dict[str, str | int] = {"thread.name": threading.current_thread().name}
        if rows:
            attributes["affectstream.rows"] = rows
        span = self._tracer.start_span(
            stage,
            set_span_in_context(self._trace(start_s, end_s)),
            attributes=attributes,
            start_time=self._epoch_ns(start_s),
        )
        span.end(self._epoch_ns(end_s))

    def close(self) -> None:
        """End the trace."""
        with self._lock:
            if self._root is not None:
                self._root.end(self._epoch_ns(self._last_s))
            self._root = None

    def _trace(self, start_s: float, end_s: float) -> Span:
        """The trace of a span that ends now; a new one where the last has lasted long enough.

        A trace ends with its last span, so that idle time after it belongs to none.
        """
        from opentelemetry.context import Context

        with self._lock:
            if self._root is not None and end_s > self._until_s:
                self._root.end(self._epoch_ns(self._last_s))
                self._root = None
            if self._root is None:
                self._until_s, self._last_s = end_s + _TRACE_S, end_s
                self._root = self._tracer.start_span(
                    self._command, Context(), start_time=self._epoch_ns(start_s)
                )
            self._last_s = max(self._last_s, end_s)
            return self._root

    def _epoch_ns(self, at_s: float) -> int:
        return round(1e9 * (self._epoch_s + at_s))


@contextmanager
def exporting(command: str, *, asked: bool) -> Iterator[None]:
    """Send spans while the body runs, if `asked` or if ``OTEL_TRACES_EXPORTER`` is ``otlp``.

    Otherwise nothing is imported and nothing sent. Raises `UsageError` without the extra, and for a protocol
    other than HTTP; where only the environment asks, the log gets a warning instead.
    """
    by_environment = "otlp" in os.environ.get("OTEL_TRACES_EXPORTER", "").split(",")
    off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if off or not (asked or by_environment):
        yield
        return
    try:
        provider = _otlp_provider()
    except UsageError as error:
        if asked:
            raise
        _log.warning("OTEL_TRACES_EXPORTER: no spans are sent: %s", error)
        yield
        return
    telemetry = Telemetry(provider, command)
    try:
        with recording(telemetry):
            yield
    finally:
        telemetry.close()
        # A collector that does not answer must not hold the program.
        closing = threading.Thread(target=provider.shutdown, name="telemetry", daemon=True)
        closing.start()
        closing.join(_CLOSE_S)
        if closing.is_alive():
            _log.warning(
                "OpenTelemetry: the collector did not take the last spans within %g s", _CLOSE_S
            )


def _otlp_provider() -> TracerProvider:
    name = next((name for name in _PROTOCOLS if os.environ.get(name)), None)
    if name is not None and os.environ[name] != "http/protobuf":
        raise UsageError(f"--otel: {name} is {os.environ[name]!r}, expected http/protobuf")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise UsageError(f"--otel needs OpenTelemetry: {install_hint('otel')}") from error
    ours = {"service.name": "affectstream", "service.version": version("affectstream")}
    given = OTELResourceDetector().detect().attributes
    resource = Resource.create({name: ours[name] for name in ours if name not in given})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
