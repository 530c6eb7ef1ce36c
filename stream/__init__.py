"""From a recording or a live source to timestamped events.

```python
from affectstream.stream import Recognizer

with Recognizer.open("pocket") as recognizer:
    result = recognizer.score("interview.mp4")
    print(result.readings.to_pylist()[0])
```
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from affectstream.stream.batch.output.outcome import Outcome
    from affectstream.stream.batch.run import BatchResult
    from affectstream.stream.errors import AffectstreamError, OptionError, OutputError, SourceError
    from affectstream.stream.events import (
        Attention,
        Emotion,
        Event,
        Segment,
        Stream,
        json_schema,
        parse_event,
    )
    from affectstream.stream.explain.explanation import Explanation
    from affectstream.stream.offline.session import Session
    from affectstream.stream.options import Assignment, SourceOptions
    from affectstream.stream.push import PushStream
    from affectstream.stream.recognizer import Recognizer, Result

_HOME = {
    "AffectstreamError": "errors",
    "BatchResult": "batch.run",
    "Outcome": "batch.output.outcome",
    "Assignment": "options",
    "Attention": "events",
    "Emotion": "events",
    "Event": "events",
    "Explanation": "explain.explanation",
    "OptionError": "errors",
    "OutputError": "errors",
    "PushStream": "push",
    "Recognizer": "recognizer",
    "Result": "recognizer",
    "Segment": "events",
    "Session": "offline.session",
    "SourceError": "errors",
    "SourceOptions": "options",
    "Stream": "events",
    "parse_event": "events",
    "json_schema": "events",
}

__all__ = [  # noqa: RUF022 - the order of use
    "Recognizer",
    "Session",
    "PushStream",
    "Result",
    "BatchResult",
    "Outcome",
    "Explanation",
    "SourceOptions",
    "Assignment",
    "Event",
    "Emotion",
    "Attention",
    "Segment",
    "Stream",
    "parse_event",
    "json_schema",
    "AffectstreamError",
    "SourceError",
    "OutputError",
    "OptionError",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use: the command line must answer --help without loading the runtimes.
    if name == "__version__":
        return version("affectstream")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
