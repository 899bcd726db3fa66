"""The guard: the only way feedback reaches a student.

Every reply is searched for what only the teacher may know (`leaks/`: reference, solution, what hidden tests expect). A
reply that gives it away is asked for again up to `max_retries` times, with the reason in `Situation.objection`. If the
last one still does, the answer is cut out where it stands literally; if that is not enough, the scripted teacher's hint
goes on instead, or a fixed sentence. Everything is counted in `Guard.counts`.

What the student itself wrote and what stands in the question may be mentioned. It may not be called the answer where
there is something to choose from: a student that lists fifty numbers does not make the teacher point at one.

Of a program's hidden tests a teacher may show one failing input, never what is expected, an assertion, or more inputs.

A student hears a `GuardedTeacher` only, which `Guard.wrap` makes. Left out: see `leaks/__init__.py` for what the detectors
do not cover. A teacher that is not `guarded` (the control `leaked`) says what it likes, and its leaks are recorded; one
that does not see the privilege has nothing to leak.
"""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rl2f_hub.records import Feedback, Usage
from rl2f_hub.sandbox.jobs import CodeJob, CodeTests
from rl2f_hub.teachers.base import FeedbackRequest as Situation
from rl2f_hub.teachers.base import Reply, Teacher, as_teacher
from rl2f_hub.teachers.leaks import ADDS_UP, FORMS, WORLD_FORMS, find_leaks, leaks_in
from rl2f_hub.teachers.leaks.attempts import programs_in, texts_in
from rl2f_hub.teachers.leaks.reading import MAX_CHARS
from rl2f_hub.teachers.leaks.secret import secret_of, whole
from rl2f_hub.teachers.marks import PLACES
from rl2f_hub.teachers.scripted import ScriptedTeacher

__all__ = ["NEUTRAL", "REDACTED", "Guard", "GuardedTeacher", "Judge", "find_leaks"]
log = logging.getLogger(__name__)
Speak = Callable[[Sequence[Situation]], Sequence[Reply | str | None]]

_MARKED_DIGIT = re.compile(rf"\b(?:{'|'.join(PLACES)}) \d (?:right|too (?:low|high))\b")  # of the scripted teacher
REDACTED = "[redacted]"
NEUTRAL = "Not yet. Check your work and try again."  # says nothing about any task


class Judge(ABC):
    """A second opinion on replies in which the detectors found nothing, for instance a model's (`judging.ModelJudge`).

    What it counts in `counts` is added to the guard's.
    """

    counts: Counter[str] = Counter()

    @abstractmethod
    def leaks(self, situation: Situation, text: str) -> bool | None:
        """Whether `text` gives the answer of `situation` away; None: no opinion (counted as `judge_silent`)."""

    def leaks_in_each(self, cases: Sequence[tuple[Situation, str]]) -> list[bool | None]:
        """The same for many `cases` (situation, text) at once, in order."""
        return [self.leaks(situation, text) for situation, text in cases]

    def record(self) -> dict[str, Any]:
        """For manifests."""
        return {}


@dataclass
class Guard:
    """Checks replies, asks again, redacts, falls back.

    Args:
        max_retries: how often a leaking reply is asked for again.
        check_code: run code in replies to tasks with tests, in the sandbox; code that passes, once it is made whole
            (`leaks/attempts.py`), is a leak. Without, code is only compared with the solution.
        judge: asked about every reply in which nothing was found; off by default.
        counts: `passed`, `redacted`, `fell_back`, `unguarded`, `teacher_error` (one of them for every situation),
            `leaked` and `leaked_<form>` (leaking replies, asked-for-again ones included), `retried`, `judge_silent`.
    Raises:
        RL2FError: `check_code` where the sandbox cannot be started.
    """

    max_retries: int = 2
    counts: Counter[str] = field(default_factory=Counter)
    check_code: bool = False
    judge: Judge | None = None

    def __post_init__(self) -> None:
        if self.check_code:
            from rl2f_hub.sandbox import shared

            shared()

    def emptied(self) -> Guard:
        """The same guard, judge included, with counts of its own."""
        return replace(self, counts=Counter())

    def wrap(self, teacher: Any) -> GuardedTeacher:
        """The teacher behind this guard; anything that `as_teacher` takes."""
        return GuardedTeacher(as_teacher(teacher), self)

    def pass_on(self, teacher: Teacher, situations: Sequence[Situation]) -> list[Feedback | None]:
        """Guarded feedback in the order of `situations`; None where the teacher gave nothing.

        `Feedback.leaked` names the forms of the last reply, before anything was cut out of it; `kind` stays as the
        teacher said; `usage` includes replies that were asked for again.
        """
        teacher = as_teacher(teacher)
        out = self._pass_on(teacher, teacher.feedback, situations)
        if silent := out.count(None):
            self.counts["teacher_error"] += silent
        return out

    def challenge(self, teacher: Teacher, situations: Sequence[Situation]) -> list[Feedback | None]:
        """The same for what a teacher says against the right attempts of `situations`; None, no error, where one stands."""
        return self._pass_on(teacher, teacher.challenge_correct, situations)

    def _pass_on(self, teacher: Teacher, speak: Speak, situations: Sequence[Situation]) -> list[Feedback | None]:
        unguarded = not teacher.guarded
        out = self._ask(teacher, speak, situations)
        for retry in range(1, self.max_retries + 1 - unguarded * self.max_retries):
            again = [i for i, f in enumerate(out) if f is not None and f.leaked]
            if not again:
                break
            self.counts["retried"] += len(again)
            fresh = self._ask(teacher, speak, [_objected(situations[i], out[i], retry) for i in again])
            for i, feedback in zip(again, fresh, strict=True):
                if feedback is not None:  # else the earlier reply stays, to be redacted
                    out[i] = replace(feedback, usage=_both(out[i], feedback))
        for i, feedback in enumerate(out):
            if feedback is None:
                continue
            if not feedback.leaked:
                self.counts["passed"] += 1
            elif unguarded:
                self.counts["unguarded"] += 1
            else:
                out[i] = replace(feedback, text=self._mended(feedback, situations[i]))
        return out

    def _ask(self, teacher: Teacher, speak: Speak, situations: Sequence[Situation]) -> list[Feedback | None]:
        if not situations:
            return []
        try:
            replies = [Reply(r) if isinstance(r, str) else r for r in speak(situations)]
        except Exception as error:  # a teacher that fails as a whole fails these dialogues, not the run
            log.warning("teacher %s failed: %s: %s", teacher.name, type(error).__name__, error)
            replies = []
        if len(replies) != len(situations):  # nobody knows which reply belongs to whom
            replies = [None] * len(situations)
        out: list[Feedback | None] = []
        leaked = 0
        for reply, situation in zip(replies, situations, strict=True):
            if reply is None or not reply.text.strip():
                out.append(None)
                continue
            text = reply.text[:MAX_CHARS]  # what is not read must not be passed on
            leaks = leaks_of(text, situation, reply.kind) if teacher.sees_privilege else ()
            out.append(Feedback(text, reply.kind, leaks, reply.usage))
        if self.check_code and teacher.sees_privilege:
            self._run_code(out, situations)
        if self.judge is not None and teacher.sees_privilege:
            places = [i for i, f in enumerate(out) if f is not None and not f.leaked and f.kind != "environment"]
            texts = [(situations[i], f.text) for i in places if (f := out[i]) is not None]
            for i, leaked_so in zip(places, self._judged(texts), strict=True):
                if leaked_so and (feedback := out[i]) is not None:
                    out[i] = replace(feedback, leaked=("judge",))
        for feedback in out:
            if feedback is not None and feedback.leaked:
                leaked += 1
                self.counts.update(f"leaked_{form}" for form in feedback.leaked)
        self.counts["leaked"] += leaked
        return out

    def _judged(self, cases: Sequence[tuple[Situation, str]]) -> list[bool]:
        if self.judge is None or not cases:
            return [False] * len(cases)
        before = Counter(self.judge.counts)
        verdicts = self.judge.leaks_in_each(cases)
        self.counts.update(self.judge.counts - before)
        self.counts["judge_silent"] += verdicts.count(None)
        return [bool(verdict) for verdict in verdicts]

    def _run_code(self, out: list[Feedback | None], situations: Sequence[Situation]) -> None:
        """Mark replies whose code passes the tests."""
        from rl2f_hub.sandbox import shared

        places, jobs = [], []
        for i, (feedback, situation) in enumerate(zip(out, situations, strict=True)):
            if feedback is None or feedback.leaked or not situation.privilege.tests:
                continue
            try:
                tests = CodeTests.from_json(situation.privilege.tests)
            except ValueError:
                continue  # the verifier cannot read them either, and says so
            known = (situation.question, *situation.attempts)
            programs = programs_in(feedback.text, situation.privilege.solution, tests.entry_points, known)
            if situation.accepts is not None:  # the task's own verifier knows what its prompt brings along
                if programs and situation.accepts(programs):
                    out[i] = replace(feedback, leaked=("code",))
                continue
            places += [i] * len(programs)
            jobs += [CodeJob(program, tests) for program in programs]
        for i, result in zip(places, shared().run(jobs) if jobs else [], strict=True):
            feedback = out[i]
            if result.passed and feedback is not None:
                out[i] = replace(feedback, leaked=("code",))

    def _mended(self, feedback: Feedback, situation: Situation) -> str:
        """The reply with the answer cut out, else the scripted hint, else the neutral sentence."""
        text = _redacted(feedback.text, situation)
        is_clean = text != feedback.text and not leaks_of(text, situation, feedback.kind)
        if is_clean and not any(self._judged([(situation, text)])):
            self.counts["redacted"] += 1
            return text
        self.counts["fell_back"] += 1
        hint = None if feedback.kind == "environment" else _scripted(situation)
        return hint.text if hint is not None and not leaks_of(hint.text, situation, hint.kind) else NEUTRAL


@dataclass(frozen=True, slots=True)
class GuardedTeacher:
    """A teacher behind a guard: the only form in which the dialogue loop takes one."""

    teacher: Teacher
    guard: Guard

    @property
    def name(self) -> str:
        """The teacher's."""
        return self.teacher.name

    @property
    def independent_attempts(self) -> bool:
        """See `Teacher`."""
        return self.teacher.independent_attempts

    def feedback(self, requests: Sequence[Situation]) -> list[Feedback | None]:
        """What `Guard.pass_on` makes of the replies to `requests`."""
        return self.guard.pass_on(self.teacher, requests)

    def challenge_correct(self, requests: Sequence[Situation]) -> list[Feedback | None]:
        """What `Guard.challenge` makes of the replies to `requests`."""
        return self.guard.challenge(self.teacher, requests)


def leaks_of(text: str, situation: Situation, kind: str = "") -> tuple[str, ...]:
    """The forms in which a text of that kind gives the situation's privilege away.

    The words of an environment are only searched for the secret as it is written: the world speaks in no code, and
    what it shows of a secret ("_ L U M") is the game.
    """
    known = (situation.question, *situation.attempts)
    if kind == "environment":
        return leaks_in(text, situation.privilege, known, WORLD_FORMS)
    found = leaks_in(text, situation.privilege, known)
    if found:
        return found
    if not situation.one_answer and situation.accepts is not None and situation.accepts(texts_in(text, known)):
        return ("accepted",)
    if not situation.feedbacks:
        return ()
    # What was said before adds up: "the first two digits are 17", and two turns later "the last two are 86". A mark on a
    # digit ("tens 5 too high") names one that the student wrote: it is left out, or the marks of many turns would add up.
    earlier, now = (_MARKED_DIGIT.sub("", said) for said in ("\n".join(situation.feedbacks)[-MAX_CHARS // 2 :], text))
    together = leaks_in(f"{earlier}\n{now}", situation.privilege, known)
    fresh = [form for form in together if form in ADDS_UP]
    if not fresh or ((before := set(leaks_in(earlier, situation.privilege, known))) and not set(fresh) - before):
        return ()
    return tuple(fresh)


def _objected(situation: Situation, feedback: Feedback | None, retry: int) -> Situation:
    forms = "; ".join(FORMS[form] for form in feedback.leaked) if feedback else ""
    objection = f"your feedback gave the answer away ({forms})"
    return replace(situation, seed=situation.seed + retry, objection=objection)


def _both(first: Feedback | None, second: Feedback) -> Usage | None:
    parts = [f.usage for f in (first, second) if f is not None and f.usage is not None]
    return sum(parts[1:], parts[0]) if parts else None


def _scripted(situation: Situation) -> Reply | None:
    try:
        return ScriptedTeacher().feedback([situation])[0]
    except Exception as error:  # an answer of a shape that it cannot mark costs the hint, not the dialogue
        log.warning("no scripted hint: %s: %s", type(error).__name__, error)
        return None


def _redacted(text: str, situation: Situation) -> str:
    """The text without the solution and the reference where they stand as they are written.

    Short words are left: cutting every "a" or "no" out of a text makes it unreadable.
    """
    for secret in (situation.privilege.solution.strip(), situation.privilege.reference.strip()):
        if secret and not ((compiled := secret_of(secret)).short and compiled.kind != "number"):
            text = re.sub(whole(re.escape(secret)).pattern, REDACTED, text, flags=re.IGNORECASE)
    return text
