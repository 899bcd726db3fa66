"""Verifier `environment`: a move is judged by playing the game again from its start up to that move.

The verdict's `observation` is what the environment shows after the move, and so the dialogue's feedback; an attempt
that holds no move, an empty one too, is told what a move looks like. Nothing is kept between two verdicts.
"""

from __future__ import annotations

from rl2f_hub.records import Task, Verdict


def environment(task: Task, attempt: str, earlier: tuple[str, ...]) -> Verdict:
    """Right when this move wins the game, `final` when the game is over without success.

    Raises:
        ValueError: the task's config names no game that can be played.
    """
    from rl2f_hub.tasks.textarena import replay

    return replay(task, (*earlier, attempt))
