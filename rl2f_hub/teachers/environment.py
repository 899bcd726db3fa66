"""The environment as its own teacher: in a game or a walk, the feedback is what the world answers to a move."""

from __future__ import annotations

from collections.abc import Sequence

from rl2f_hub.teachers.base import FeedbackRequest, Reply, Teacher


class EnvironmentTeacher(Teacher):
    """Passes on what the environment showed after the last attempt."""

    name = "environment"

    def feedback(self, requests: Sequence[FeedbackRequest]) -> list[Reply | None]:
        return [Reply(s.verdict.observation, "environment") if s.verdict.observation else None for s in requests]
