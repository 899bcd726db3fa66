"""The one error of the server half: a request refused, with everything its HTTP answer needs.

The store and the handlers raise `Refusal`; `app.py` turns it into a status, the `X-Error-Code` / `X-Error-Message`
headers that `huggingface_hub` reads, and a JSON body. `code` is one of the words that client knows (`RepoNotFound`,
`RevisionNotFound`, `EntryNotFound`) or None. Errors of the command line are not here: see `rl2f_hub.errors`.
"""

from __future__ import annotations

from typing import Any

# huggingface_hub tells a bad token from a hidden repository by exactly this sentence.
BAD_TOKEN = "Invalid credentials in Authorization header"


class Refusal(Exception):
    def __init__(self, status: int, message: str, code: str | None = None, body: dict[str, Any] | None = None):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.body = {"error": message, **(body or {})}


def no_repo(kind: str, repo_id: str) -> Refusal:
    """Also the answer for a private repository of somebody else: its existence is nobody's business."""
    return Refusal(404, f"{kind} repository {repo_id!r} not found", "RepoNotFound")


def no_revision(revision: str) -> Refusal:
    return Refusal(404, f"Invalid rev id: {revision!r}", "RevisionNotFound")


def no_entry(path: str, revision: str) -> Refusal:
    return Refusal(404, f"Entry {path!r} not found in revision {revision!r}", "EntryNotFound")
