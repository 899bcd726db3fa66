"""What cards are made of: the templates in `cards/`, outside text made safe for Markdown, links to exact revisions.

Text from tasks, models and recipes is escaped, since a card is Markdown that others will render.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rl2f_hub.errors import RL2FError

NOT_MEASURED = "not measured"
PAPER = "2602.16066"
KINDS = {"model": "", "dataset": "datasets/", "space": "spaces/"}


def templates() -> Path:
    """The folder of card templates: beside the package in a checkout, inside it once installed."""
    for folder in (Path(__file__).parents[1] / "_cards", Path(__file__).parents[2] / "cards"):
        if folder.is_dir():
            return folder
    raise RL2FError("cards/: the templates are missing; reinstall rl2f-hub")


def render(name: str, **values: Any) -> str:
    """A template rendered in Jinja's sandbox; an undefined name is an error."""
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        loader=FileSystemLoader(templates()), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = plain
    environment.filters["code"] = code
    environment.filters["percent"] = lambda x: NOT_MEASURED if x is None else f"{100 * x:.1f} %"
    return environment.get_template(name).render(**values)


def plain(text: Any, limit: int = 300) -> str:
    """Outside text for Markdown: one line, no markup, no HTML, no links, nothing invisible, cut to `limit` characters."""
    line = _printable(text, limit)
    line = re.sub(r"(?i)w(?=ww\.)|:(?=//)", "\\g<0>\u2060", line)  # viewers make links of bare addresses
    return "".join(f"&#{ord(c)};" if c in "<>&`*_[]()!|\\#{}~" else c for c in line)


def code(text: Any, limit: int = 200) -> str:
    """Outside text for a code span in a table or a line: nothing that could end either."""
    return "".join(c for c in _printable(text, limit) if c not in "`|<>")


def _printable(text: Any, limit: int) -> str:
    """One line without control characters and without what turns or hides the text around it."""
    return " ".join("".join(c for c in str(text) if c.isprintable() or c.isspace()).split())[:limit]


def address(endpoint: str, kind: str, repo_id: str, revision: str | None = None) -> str:
    """Where a revision of a repository is shown. On this machine without the host: its port is another one tomorrow."""
    host = "" if re.match(r"https?://(127\.|localhost|\[::1\])", endpoint) else endpoint.rstrip("/")
    host = re.sub(r"//[^/@]*@", "//", host)  # a user and a password are no part of a link
    return f"{host}/{KINDS[kind]}{repo_id}" + (f"/tree/{revision}" if revision else "")


def linked(endpoint: str, kind: str, repo_id: str, revision: str | None) -> str:
    """A Markdown link to a repository at a revision."""
    at = f" at `{revision}`" if revision else f" (revision {NOT_MEASURED.replace('measured', 'recorded')})"
    return f"[`{code(repo_id)}`]({address(endpoint, kind, repo_id, revision)}){at}"


def public_model(name: str) -> str:
    """A model's Hub id, or the last part of a folder's path: where it lay on this machine is nobody's business."""
    return name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith((".", "~")) else Path(name).name
