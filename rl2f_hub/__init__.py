"""rl2f_hub: learning from corrective feedback inside a conversation, as a skill to train, publish and try.

The public names load on first use, so that `import rl2f_hub` stays fast and needs neither torch nor trl.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Task": "records", "Privilege": "records", "Verdict": "records", "Feedback": "records", "Turn": "records",
    "Dialogue": "records", "StopReason": "records",
    "RL2FError": "errors", "UsageError": "errors",
    "Recipe": "recipe", "load_recipe": "recipe",
    "LocalHub": "localhub",
    "RL2FConfig": "training.config", "RL2FTrainer": "training.trainer",
}  # fmt: skip

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"rl2f_hub.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'rl2f_hub' has no attribute {name!r}")
