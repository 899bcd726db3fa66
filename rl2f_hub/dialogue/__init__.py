"""The didactic dialogue: chat format and token ledger, context window, rollouts, and the runner that plays them in batches.

The public names load on first use: the parts import each other and nothing loads more than it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Rollout": "rollout",
    "ask": "rollout",
    "get_feedback": "rollout",
    "judge": "rollout",
    "Student": "runner",
    "run_dialogues": "runner",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"rl2f_hub.dialogue.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'rl2f_hub.dialogue' has no attribute {name!r}")
