"""Control teachers: what a result must be compared with before anyone calls it learning from feedback.

- `none`: says nothing; every attempt is a fresh one at the bare question (resampling without history).
- `try_again`: only says that the attempt is wrong (the control of arXiv 2507.14295).
- `shuffled`: the feedback that an attempt at another question earned: right in form, wrong in content.
- `leaked`: states the answer, past the guard: the upper bound, and a test of whether feedback is read at all.
- `careless`: the same, at a stated rate and before the guard: what the guard is worth.
- `misleading`: at a stated rate it doubts right answers and gives hints towards a wrong one: does the student hold on?
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rl2f_hub.errors import UsageError
from rl2f_hub.teachers.base import FeedbackRequest, Reply, Teacher, WrappedTeacher
from rl2f_hub.teachers.scripted import ScriptedTeacher
from rl2f_hub.verify.quantity import as_integer

if TYPE_CHECKING:
    from pathlib import Path

    from rl2f_hub.dialogue.runner import Student
    from rl2f_hub.recipe.teacher_sections import TeacherSpec

TRY_AGAIN = Reply("Wrong. Try again.", "try_again")
DOUBTS = (
    "That is wrong. Try again.",
    "Are you sure? I believe that is not right.",
    "I get something else. Please correct your answer.",
)


class NoTeacher(Teacher):
    """Says nothing. The dialogue loop starts every attempt again from the question alone."""

    name = "none"
    independent_attempts = True

    def feedback(self, requests: Sequence[FeedbackRequest]) -> list[Reply | None]:
        return [None for _ in requests]


class TryAgainTeacher(Teacher):
    """Says that the attempt is wrong and nothing else."""

    name = "try_again"

    def feedback(self, requests: Sequence[FeedbackRequest]) -> list[Reply | None]:
        return [TRY_AGAIN for _ in requests]


class ShuffledTeacher(Teacher):
    """The scripted teacher's words about an attempt at another question that earned feedback of the same kind.

    Within a batch the words go to the next attempt at another question; an attempt that is alone in its kind gets words
    that were said earlier, and if there are none yet, words about a made-up reference. So what one student hears
    depends on who else is in the batch: that is what the control is.
    """

    name = "shuffled"

    def __init__(self) -> None:
        self._said: dict[str, list[tuple[str, Reply]]] = {}  # kind -> (question, words) of the last few questions

    def feedback(self, requests: Sequence[FeedbackRequest]) -> list[Reply | None]:
        replies = ScriptedTeacher().feedback(requests)
        out: list[Reply | None] = []
        for i, (request, reply) in enumerate(zip(requests, replies, strict=True)):
            if reply is None:
                out.append(None)
                continue
            later = [*range(i + 1, len(replies)), *range(i)]
            donors = [replies[j] for j in later if self._fits(request, reply, requests[j].question, replies[j])]
            earlier = [r for question, r in self._said.get(reply.kind, []) if question != request.question]
            out.append(next(iter(donors), None) or (earlier[-1] if earlier else _about_a_decoy(request)))
        for request, reply in zip(requests, replies, strict=True):
            if reply is not None:
                self._said[reply.kind] = [*self._said.get(reply.kind, [])[-7:], (request.question, reply)]
        return out

    @staticmethod
    def _fits(request: FeedbackRequest, own: Reply, question: str, other: Reply | None) -> bool:
        return other is not None and other.kind == own.kind and question != request.question


class LeakedTeacher(Teacher):
    """States the reference (or, where there is none, the solution) at the rate `rate`, else is the scripted teacher.

    The guard records its leaks and lets them pass.
    """

    name = "leaked"
    guarded = False

    def __init__(self, rate: float = 1.0) -> None:
        self.rate = rate

    @classmethod
    def from_spec(cls, spec: TeacherSpec, student: Student | None, folder: Path | None) -> Teacher:
        return cls(spec.rate)

    def feedback(self, requests: Sequence[FeedbackRequest]) -> list[Reply | None]:
        honest = ScriptedTeacher().feedback(requests) if self.rate < 1 else [None] * len(requests)
        return [_stated(s) if self._slips(s) else reply for s, reply in zip(requests, honest, strict=True)]

    def _slips(self, s: FeedbackRequest) -> bool:
        """Drawn by the dialogue's seed and turn; a reply that is asked for again has another seed."""
        return self.rate >= 1 or random.Random(f"leaked/{s.seed}/{len(s.attempts)}").random() < self.rate


class CarelessTeacher(LeakedTeacher):
    """The slips of `leaked`, which the guard asks to say again and cuts out."""

    name = "careless"
    guarded = True


def _stated(s: FeedbackRequest) -> Reply | None:
    secret = s.privilege.reference.rsplit("####", 1)[-1].strip() or s.privilege.solution
    return Reply(f"Wrong. The answer is {secret}", "leaked") if secret else None


class MisleadingTeacher(Teacher):
    """At the rate `rate`, drawn by the dialogue's seed and turn, it doubts a right answer or hints at a wrong one.

    Otherwise it is the scripted teacher. A dialogue with it goes on after a right answer that it doubts.
    """

    name = "misleading"

    def __init__(self, rate: float = 1.0) -> None:
        if not 0 <= rate <= 1:
            raise UsageError(f"teacher.rate: {rate} is refused; a share from 0 to 1 is needed")
        self.rate = rate

    @classmethod
    def from_spec(cls, spec: TeacherSpec, student: Student | None, folder: Path | None) -> Teacher:
        return cls(spec.rate)

    def feedback(self, requests: Sequence[FeedbackRequest]) -> list[Reply | None]:
        honest = ScriptedTeacher().feedback(requests)
        return [_about_a_decoy(s) if self._lies(s) else reply for s, reply in zip(requests, honest, strict=True)]

    def challenge_correct(self, requests: Sequence[FeedbackRequest]) -> list[Reply | None]:
        """Words against attempts that are right; None where it lets them stand."""
        return [Reply(self._draw(s).choice(DOUBTS), "doubt") if self._lies(s) else None for s in requests]

    def _lies(self, request: FeedbackRequest) -> bool:
        return self._draw(request).random() < self.rate

    @staticmethod
    def _draw(request: FeedbackRequest) -> random.Random:
        return random.Random(f"misleading/{request.seed}/{len(request.attempts)}")


class DoubtingTeacher(WrappedTeacher):
    """Another teacher that also doubts right answers at a stated rate, so that holding on to them can be learnt.

    A teacher whose attempts are independent has no dialogue in which it could doubt: nothing changes there.
    """

    def __init__(self, teacher: Teacher, rate: float) -> None:
        super().__init__(teacher)
        self._doubts = MisleadingTeacher(rate)
        self.rate = rate

    def challenge_correct(self, requests: Sequence[FeedbackRequest]) -> list[Reply | str | None]:
        own, doubts = super().challenge_correct(requests), self._doubts.challenge_correct(requests)
        return [reply or doubt for reply, doubt in zip(own, doubts, strict=True)]

    def record(self) -> dict[str, Any]:
        """The teacher's own record and the rate."""
        return {**super().record(), "doubt_rate": self.rate}


def _about_a_decoy(s: FeedbackRequest) -> Reply:
    """What the scripted teacher would say if another number of the same length were right; else only "try again"."""
    wanted, given = as_integer(s.privilege.reference), as_integer(s.verdict.answer or "")
    if wanted is None or given is None:
        return TRY_AGAIN
    rng = random.Random(f"decoy/{s.seed}/{s.question}/{s.privilege.reference}")
    low = 10 ** (len(str(abs(wanted))) - 1)
    decoy = abs(wanted)
    while decoy in (abs(wanted), abs(given)):
        decoy = rng.randrange(low if low > 1 else 0, 10 * low)
    false = replace(s, privilege=replace(s.privilege, reference=str(decoy if wanted >= 0 else -decoy), solution=""))
    return ScriptedTeacher().feedback([false])[0] or TRY_AGAIN
