"""Control teachers: what a result must be compared with before anyone calls it learning from feedback.

`try_again` only says that the attempt is wrong (the control of arXiv 2507.14295). `shuffled` gives each student the
feedback that another student of the batch earned: right in form, wrong in content.
"""

from __future__ import annotations

from collections.abc import Sequence

from rl2f_hub.teachers import Reply, Situation
from rl2f_hub.teachers.scripted import ScriptedTeacher


class TryAgainTeacher:
    """Says that the attempt is wrong and nothing else."""

    name = "try_again"

    def feedback(self, situations: Sequence[Situation]) -> list[Reply | None]:
        return [Reply("Wrong. Try again.", "try_again") for _ in situations]


class ShuffledTeacher:
    """The scripted teacher's words about another attempt of the same kind (rotated by one within each kind)."""

    name = "shuffled"

    def feedback(self, situations: Sequence[Situation]) -> list[Reply | None]:
        replies = ScriptedTeacher().feedback(situations)
        out = list(replies)
        kinds = {r.kind for r in replies if r}
        for kind in kinds:
            rows = [i for i, r in enumerate(replies) if r and r.kind == kind]
            for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
                out[row] = replies[other]
        return out
