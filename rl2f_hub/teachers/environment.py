"""The environment as its own teacher: in a game or a walk, the feedback is what the world answers to a move."""

from __future__ import annotations

from collections.abc import Sequence

from rl2f_hub.teachers import Reply, Situation


class EnvironmentTeacher:
    """Passes on what the environment showed after the last attempt."""

    name = "environment"

    def feedback(self, situations: Sequence[Situation]) -> list[Reply | None]:
        return [Reply(s.verdict.observation, "environment") if s.verdict.observation else None for s in situations]
