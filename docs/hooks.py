"""Pages of the site that are made from the code: every command, and the card of the embedded bundle."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click

from affectstream.stream.cli import GROUP, _application

CARD = "engines/pocket/CARD.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add `reference/commands.md` and `reference/pocket.md`."""
    command = typer.main.get_command(_application(sorted(entry_points(group=GROUP))))
    with typer.Context(command, info_name="affectstream") as context:
        text = get_docs_for_click(obj=command, ctx=context, name="affectstream")
    text = re.sub(r"\[/?bold\]", "`", text).replace("# `affectstream`", "# Commands", 1)
    card = (Path(config.config_file_path).parent / CARD).read_text(encoding="utf-8")
    files.append(File.generated(config, "reference/commands.md", content=text))
    files.append(File.generated(config, "reference/pocket.md", content=card))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to the card, which lies outside the docs, to its page."""
    return markdown.replace(f"](../../{CARD})", "](../reference/pocket.md)")
