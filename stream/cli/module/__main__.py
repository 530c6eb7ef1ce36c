"""``python -m affectstream``: installed as the module `affectstream.__main__`, see pyproject.toml."""

from __future__ import annotations

from affectstream.stream.cli import main

if __name__ == "__main__":
    main()
