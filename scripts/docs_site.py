"""What mkdocs asks for while it builds the site (`hooks` in mkdocs.yml): the pages of commands, and links out of docs/.

The page of a command is the help that the command line itself prints, so no page can say something else, and none can
be missing.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from py_portable.cli import cli

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {name: command for name, command in sorted(cli.commands.items()) if not command.hidden}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    assert config.nav is not None
    config.nav.insert(-1, {"Commands": [f"commands/{name}.md" for name in COMMANDS]})
    # Anchors as GitHub makes them, where these pages are read as well.
    config.mdx_configs["toc"] = {
        "slugify": lambda text, _: re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
    }
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, command in COMMANDS.items():
        assert command.callback is not None
        lines = (
            "::: mkdocs-click",
            f"    :module: {command.callback.__module__}",
            f"    :command: {command.callback.__name__}",
            f"    :prog_name: py-portable {name}",
        )
        files.append(File.generated(config, f"commands/{name}.md", content="\n".join(lines)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A link to what is in the repository outside docs/ goes to the repository. One that is not there stays wrong."""
    here = PurePosixPath("docs", page.file.src_uri).parent

    def rewritten(link: re.Match[str]) -> str:
        path, mark, anchor = link[1].partition("#")
        target = normpath(here / path)
        outside = not target.startswith("docs/") and (ROOT / target).exists()
        return f"]({config.repo_url}/blob/main/{target}{mark}{anchor})" if outside else link[0]

    return re.sub(r"\]\((\.\./[^)\s]+)\)", rewritten, markdown)
