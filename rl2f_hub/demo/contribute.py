"""Contributions: dialogues that visitors agreed to publish, batched into commits to a feedback dataset on the Hub.

Nothing is given without a ticked box for that very dialogue. The dataset is made private unless it exists already. One file a
contribution, so that one can be deleted again: the visitor gets a receipt, whose hash is the file's name, so that the
published name is no key to deleting it. A deletion squashes the dataset's history, which would keep the text otherwise.
What could not be uploaded stays in memory and goes with the next commit; it is lost when the process ends before.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from rl2f_hub.demo.acts import Who
from rl2f_hub.demo.marks import as_lines
from rl2f_hub.demo.visits import Pace
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.publish import COLUMNS

log = logging.getLogger(__name__)

CONSENT = (
    "I agree that this dialogue (the task, the attempts and my own words, nothing about me) is added to the dataset {where}, "
    "where it may be published under CC0-1.0 and used to train models."
)
EVERY_S = 300.0
MAX_PENDING = 500
CARD = """---
license: cc0-1.0
tags:
- rl2f
- feedback
configs:
- config_name: dialogues
  data_files:
  - split: train
    path: dialogues/*/*.jsonl
  features:
{features}
---

# Feedback from visitors

Dialogues in which visitors of an RL2F demo corrected a model in words, each contributed with explicit consent for that
dialogue. Words and tasks are as visitors typed them: nobody has checked them. One file a contribution; whoever holds its
receipt can delete it.
"""


class Contributions:
    """What visitors gave, on its way to the dataset `repo_id`.

    Args:
        every_s: seconds between commits; a thread of its own makes them while something waits.
        token: for the Hub; None takes the environment's.
    """

    def __init__(self, repo_id: str, *, every_s: float = EVERY_S, token: str | None = None) -> None:
        self.repo_id, self.every_s, self._token = repo_id, every_s, token
        self.pace = Pace(6, 10)
        self._pending: dict[str, str] = {}  # path in the repository -> text
        self._lock, self._upload = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None
        atexit.register(self.flush)

    def give(self, rows: list[dict[str, Any]], consent: bool, who: Who) -> str:
        """Take rows in; returns the receipt with which they can be deleted.

        Raises:
            UsageError: no consent, or too many.
        """
        if consent is not True:
            raise UsageError("Nothing was sent: tick the box if you agree to give this dialogue.")
        self.pace.take(who.address)
        receipt = secrets.token_hex(16)
        name = _name(receipt)
        with self._lock:
            if len(self._pending) >= MAX_PENDING:
                raise UsageError("Too many contributions are waiting for the Hub: please try again later.")
            self._pending[_path(name)] = as_lines([row | {"dialogue_id": f"{name}/{i}"} for i, row in enumerate(rows)])
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
        return receipt

    def take_back(self, receipt: str, who: Who) -> None:
        """Delete a contribution, wherever it is.

        Raises:
            UsageError: there is none with that receipt.
            RL2FError: the Hub could not be asked.
        """
        receipt = receipt.strip().lower()
        if len(receipt) != 32 or not set(receipt) <= set("0123456789abcdef"):
            raise UsageError("That is no receipt: it has 32 characters from 0-9 and a-f.")
        self.pace.take(who.address)
        path = _path(_name(receipt))
        with self._upload:  # not while it is on its way
            with self._lock:
                if self._pending.pop(path, None) is not None:
                    return
            self._asked(lambda api: self._delete(api, path))

    def _delete(self, api: Any, path: str) -> None:
        if not api.file_exists(self.repo_id, path, repo_type="dataset"):
            raise UsageError("No contribution has that receipt.")
        api.delete_file(path, self.repo_id, repo_type="dataset", commit_message="A contributor took a dialogue back")
        api.super_squash_history(self.repo_id, repo_type="dataset", commit_message="Contributions")

    def flush(self) -> int:
        """Commit what waits, now; returns how many contributions. What fails waits on."""
        with self._upload:
            with self._lock:
                taken = dict(self._pending)
            if not taken:
                return 0
            try:
                self._asked(lambda api: self._commit(api, taken))
            except RL2FError as error:
                log.warning("contributions wait: %s", error)
                return 0
            with self._lock:
                for path in taken:
                    self._pending.pop(path, None)
        return len(taken)

    def _commit(self, api: Any, files: dict[str, str]) -> None:
        from huggingface_hub import CommitOperationAdd

        api.create_repo(self.repo_id, repo_type="dataset", private=True, exist_ok=True)
        operations = [CommitOperationAdd(path, text.encode()) for path, text in files.items()]
        if not api.file_exists(self.repo_id, "README.md", repo_type="dataset"):
            operations.append(CommitOperationAdd("README.md", CARD.format(features=_features()).encode()))
        api.create_commit(self.repo_id, operations, commit_message=f"{len(files)} contributions", repo_type="dataset")

    def _asked(self, what: Callable[[Any], None]) -> None:
        from huggingface_hub import HfApi

        try:
            what(HfApi(token=self._token))
        except RL2FError:
            raise
        except Exception as error:
            raise RL2FError(f"The Hub did not take it ({type(error).__name__}): please try again later.") from None

    def _run(self) -> None:
        while True:
            time.sleep(self.every_s)
            self.flush()


def _name(receipt: str) -> str:
    return hashlib.sha256(receipt.encode()).hexdigest()[:32]


def _path(name: str) -> str:
    return f"dialogues/{name[:2]}/{name}.jsonl"


def _features() -> str:
    """The fixed types of the `dialogues` config, as a card's YAML lists them."""

    def lines(columns: dict[str, Any], indent: str) -> list[str]:
        out = []
        for name, kind in columns.items():
            out.append(f"{indent}- name: {name}")
            if isinstance(kind, list):
                out += [f"{indent}  list:", *lines(kind[0], indent + "  ")]
            else:
                out.append(f"{indent}  dtype: {kind}")
        return out

    return "\n".join(lines(COLUMNS["dialogues"], "  "))
