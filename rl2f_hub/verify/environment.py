"""Verifier `environment`: a move is judged by playing the environment again up to it (`tasks/textarena.py`)."""

from __future__ import annotations

from rl2f_hub.records import Task, Verdict


def environment(task: Task, attempt: str, earlier: tuple[str, ...]) -> Verdict:
    """Right when the environment is won by this move; `observation` is what it shows after the move."""
    from rl2f_hub.tasks.textarena import replay

    return replay(task, (*earlier, attempt))
