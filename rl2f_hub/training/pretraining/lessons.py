"""Pre-training lessons for a student from scratch: worked examples and dialogues, as text.

The point is to start where real models start: the student knows what the words of tasks and feedback mean, but its
usual second attempt is a repeat, and only in `heed_share` of the dialogues does it use the feedback, clumsily: any
digit on the side the teacher pointed to, forgetting earlier turns. Using it well and always is RL2F's to teach.
Feedback is written by the real teachers, and attempts are judged by the real verifier, so that lessons and later
dialogues speak the same language.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rl2f_hub.records import Task
from rl2f_hub.teachers.base import FeedbackRequest
from rl2f_hub.teachers.controls import TryAgainTeacher
from rl2f_hub.teachers.scripted import ScriptedTeacher
from rl2f_hub.verify import verify
from rl2f_hub.verify.quantity import as_integer

Conversation = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class LessonPlan:
    """How the pre-training text is mixed. Shares are probabilities."""

    worked_share: float = 0.25  # of the lessons: a task followed by its right answer
    heed_share: float = 0.35  # of the dialogues: the student acts on the feedback
    repeat_share: float = 0.85  # of the other attempts after feedback: the same answer again, else a fresh guess
    try_again_share: float = 0.15  # of the dialogues: the teacher only says "wrong"
    max_turns: int = 4


def lessons(tasks: Sequence[Task], plan: LessonPlan, count: int, seed: int) -> Iterator[Conversation]:
    """`count` conversations over `tasks`, deterministic by seed."""
    rng = random.Random(f"lessons/{seed}")
    by_source: dict[str, list[str]] = {}
    for task in tasks:
        by_source.setdefault(task.source, []).append(task.privilege.reference)
    scripted, try_again = ScriptedTeacher(), TryAgainTeacher()
    for _ in range(count):
        task = rng.choice(tasks)
        if rng.random() < plan.worked_share:
            answer = task.privilege.reference
            yield [{"role": "user", "content": task.prompt}, {"role": "assistant", "content": answer}]
        else:
            teacher = try_again if rng.random() < plan.try_again_share else scripted
            yield _dialogue(task, by_source[task.source], teacher, plan, rng)


def _dialogue(
    task: Task, guesses: list[str], teacher: ScriptedTeacher | TryAgainTeacher, plan: LessonPlan, rng: random.Random
) -> Conversation:
    heeds = teacher.name == "scripted" and rng.random() < plan.heed_share
    out: Conversation = [{"role": "user", "content": task.prompt}]
    attempts: list[str] = []
    attempt = rng.choice(guesses)
    for turn in range(plan.max_turns):
        if turn and heeds:
            attempt = heed(attempts[-1], task.privilege.reference, guesses, rng)
        elif turn and rng.random() >= plan.repeat_share:
            attempt = rng.choice(guesses)
        attempts.append(attempt)
        out.append({"role": "assistant", "content": attempt})
        verdict = verify(task, attempt)
        if verdict.correct:
            break
        request = FeedbackRequest(task.prompt, task.domain, tuple(attempts), (), verdict, task.privilege)
        reply = teacher.feedback([request])[0]
        if reply is None:
            break
        out.append({"role": "user", "content": reply.text})
    return out


def heed(attempt: str, reference: str, guesses: list[str], rng: random.Random) -> str:
    """A clumsy listener's next attempt: right digits kept, wrong ones redrawn on the side that the marks point to."""
    given, wanted = as_integer(attempt), as_integer(reference)
    if given is None or wanted is None:
        return rng.choice(guesses)
    ours, theirs = str(abs(given)), str(abs(wanted))
    sign = "-" if wanted < 0 else ""
    if len(ours) != len(theirs):
        first = rng.choice("123456789") if len(theirs) > 1 else rng.choice("0123456789")
        return sign + first + "".join(rng.choice("0123456789") for _ in theirs[1:])
    digits = [
        a if a == b else str(rng.randint(int(a) + 1, 9) if a < b else rng.randint(0, int(a) - 1))
        for a, b in zip(ours, theirs, strict=True)
    ]
    return sign + "".join(digits)
