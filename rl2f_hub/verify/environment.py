"""Verifier `environment`: a move is judged by playing the game again from its start up to that move.

The task's config names who plays: `engine`, one of `kinds.ENVIRONMENTS` (textarena, where there is none), or the class of
a user's own (`plugin`), which runs in the time-limited child.
"""

from __future__ import annotations

from rl2f_hub.kinds import ENVIRONMENTS, find_part
from rl2f_hub.records import Task, Verdict
from rl2f_hub.verify.base import Environment, Verifier, replay
from rl2f_hub.verify.plugin import is_plugin, plugin_of


def _environment(task: Task, attempt: str, earlier: tuple[str, ...]) -> Verdict:
    """Right when this move wins the game, `final` when the game is over without success.

    Raises:
        ValueError: the task's config names no game that can be played.
    """
    return replay(environment_of(task), task, (*earlier, attempt))


def environment_of(task: Task) -> Environment:
    """A new game of the environment behind a task."""
    if is_plugin(task):
        return plugin_of(task)
    return find_part(ENVIRONMENTS, task.settings.get("engine", "textarena"), f"task {task.task_id}")()


ENVIRONMENT = Verifier(
    _environment,
    right_attempt=lambda task: "",  # a whole line of moves wins, not one attempt
    history=True,
    answers_itself=True,
    takes_all=True,
    needs_its_source=True,
)
OWN_ENVIRONMENT = Verifier(
    _environment,
    right_attempt=lambda task: "",
    limited=True,
    history=True,
    answers_itself=True,
    takes_all=True,
    needs_its_source=True,
)
