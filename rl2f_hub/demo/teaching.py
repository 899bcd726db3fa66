"""Who "the teacher" is on the page: the scripted one, or the same model with the task's privilege in its prompt.

The second speaks with the first player's weights (the base, adapter off), takes its turns at the model as every attempt
does, and goes through the guard as every teacher does. What it was shown is kept in the episode, for Inspect.

Left out: other models and servers as teachers (`rl2f generate` has them), and the batch, whose teacher is the scripted one.
"""

from __future__ import annotations

import threading

from rl2f_hub.demo.players import Player
from rl2f_hub.engines import Interrupted, Sampling
from rl2f_hub.recipe.teacher_sections import TeacherSpec
from rl2f_hub.teachers.model import TOP_P, ModelTeacher
from rl2f_hub.teachers.prompted import Answer, Ask
from rl2f_hub.teachers.reply import OPEN

SCRIPTED, SAME = "scripted", "same model"
TEACHERS = (SCRIPTED, SAME)


class SameModelTeacher(ModelTeacher):
    """A player's model as the teacher, for one visitor's question.

    Attributes:
        shown: the prompts that it was given, oldest first.
    Args:
        stop: once set, the reply under way ends and there is no feedback.
    """

    def __init__(self, player: Player, stop: threading.Event) -> None:
        spec = TeacherSpec(kind="self", prompt="brief-v1", max_tokens=96)
        super().__init__(spec, player.student.engine, player.student.chat.tokenizer, "self")
        self.player, self.stop = player, stop
        self._shown: list[str] = []

    def _ask(self, asks: list[Ask]) -> list[Answer | str]:
        out: list[Answer | str] = []
        for ask in asks:
            self._shown.append(ask.text)
            ids = self.format.ids(ask.text, OPEN if ask.again else "")
            sampling = Sampling(self.spec.temperature, TOP_P, self.spec.max_tokens)
            out.append(self.answer(ask, len(ids), self.player.say(ids, ask.seed, 1, sampling, self._drawn)))
        return out

    @property
    def stopped(self) -> str:
        return "stopped" if self.stop.is_set() else ""

    @property
    def shown(self) -> list[str]:
        return self._shown

    def _drawn(self, token: int) -> None:
        if self.stopped:
            raise Interrupted
