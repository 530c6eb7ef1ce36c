"""`affectstream schema`."""

from __future__ import annotations


def schema() -> None:
    """Print the JSON Schema of one event line.

    Example: [bold]affectstream schema > events.schema.json[/bold]
    """
    import json

    from affectstream.stream.events import json_schema

    print(json.dumps(json_schema(), indent=2))
