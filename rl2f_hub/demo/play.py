"""One visitor's episode: who plays, what was tried, what was said. For the page and the terminal; needs no gradio.

A `Player` is a student under a label: base and RL2F are one loaded model with its adapter off and on, behind one lock.
An `Episode` is plain data (a task and one `Rollout` a player), so it can be copied, kept per visitor and thrown away.
Ids only ever grow in the rollout's ledger; the key-value cache of a dialogue is kept beside the model and made again
from the ledger's ids when it is gone.

Left out: streaming, several tasks at once, any teacher but the one that is passed in.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from rl2f_hub.dialogue import Rollout, Student, ask, judge
from rl2f_hub.engines import Sampling, Session
from rl2f_hub.errors import UsageError
from rl2f_hub.records import Feedback, Privilege, StopReason, Task, Turn, Verdict
from rl2f_hub.teachers import Teacher
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.verify.extract import as_integer, extract_text

MAX_CHARS = 4_000
MAX_TURNS = 8
KEPT_SESSIONS = 16  # dialogues whose cache stays in memory, a player
GREEDY = Sampling(temperature=0.0, turn_tokens=64)


def _example(number: int, text: str, answer: int) -> Task:
    prompt = f"{text} Give only the result as your final answer."
    return Task(f"example-{number}", "builtin", "arithmetic", prompt, Privilege("answer", str(answer)), "integer")


EXAMPLES = (
    _example(1, "Solve the following multiplication: 23 * 34.", 782),
    _example(2, "Solve the following multiplication: 47 * 68.", 3196),
    _example(3, "Calculate 348 + 577 - 219.", 706),
    _example(4, "What is the remainder when 8147 is divided by 53?", 38),
    _example(5, "How many prime numbers are there between 100 and 150?", 10),
    _example(6, "Find the least common multiple of 84 and 126.", 252),
)


@dataclass(slots=True)
class _Open:
    session: Session
    sampling: Sampling
    fed: list[int]  # the ids that the session has seen or sampled


@dataclass(slots=True)
class Player:
    """A student that visitors can talk to. `weights` is entered while it generates: it puts its weights in place."""

    label: str
    about: str
    student: Student
    lock: threading.Lock = field(default_factory=threading.Lock)
    weights: Callable[[], AbstractContextManager[Any]] = nullcontext
    _open: OrderedDict[int, _Open] = field(default_factory=OrderedDict, repr=False)

    def reply(self, rollout: Rollout, sampling: Sampling) -> str | None:
        """Sample the next attempt onto the rollout's ledger; None when it would not fit into the context window."""
        chat, engine, ledger = self.student.chat, self.student.engine, rollout.ledger
        if len(ledger.ids) + sampling.turn_tokens > engine.context_length:
            return None
        turn = len(rollout.turns) + 1
        with self.lock, self.weights():
            kept = self._open.pop(rollout.seed, None)  # back only after success: a failed call leaves no half-fed cache
            if kept is None or kept.sampling != sampling or ledger.ids[: len(kept.fed)] != kept.fed:
                kept = _Open(engine.open([rollout.seed], sampling, chat.stop_ids), sampling, [])
            sampled = kept.session.generate([0], [ledger.ids[len(kept.fed) :]], turn)[0]
            chat.attempt(ledger, sampled.ids, sampled.logprobs, turn)
            kept.fed = list(ledger.ids)
            self._open[rollout.seed] = kept
            while len(self._open) > KEPT_SESSIONS:
                self._open.popitem(last=False)
        return chat.decode(sampled.ids)


def players_of(model: Any, tokenizer: Any, is_adapter: bool) -> list[Player]:
    """Base and RL2F from one adapter on its base, or the one student that a full model is."""
    from rl2f_hub.students.load import as_student

    student = as_student(model, tokenizer, "RL2F" if is_adapter else "Student", thinking="keep")
    if not is_adapter:
        return [Player("Student", "one model, no adapter", student)]
    lock = threading.Lock()
    base = Player("Base", "the same weights, adapter off", replace(student, name="Base"), lock, model.disable_adapter)
    return [base, Player("RL2F", "adapter on: trained to use feedback", student, lock)]


@dataclass(slots=True)
class Episode:
    """A task and one rollout a player, in the order of the players."""

    task: Task
    rollouts: list[Rollout]

    @property
    def checked(self) -> bool:
        """Whether there is a reference to judge attempts by."""
        return bool(self.task.privilege.reference.strip())


def check_length(what: str, text: str) -> str:
    """The text stripped, or a friendly refusal of one that is too long."""
    if len(text) > MAX_CHARS:
        raise UsageError(f"{what} has {len(text):,} characters; up to {MAX_CHARS:,} fit. Please shorten it.")
    return text.strip()


def own_task(prompt: str, reference: str = "") -> Task:
    """A visitor's task. Whole-number references are compared as numbers, others as text, none means no verdicts."""
    prompt, reference = check_length("The task", prompt), check_length("The reference", reference)
    if not prompt:
        raise UsageError("There is no task yet: pick one or type your own.")
    verifier = "integer" if as_integer(reference) is not None else "text"
    return Task("own", "visitor", "own", prompt, Privilege("answer", reference), verifier)


def start(players: Sequence[Player], task: Task) -> Episode:
    """A new episode in which nobody has tried yet."""
    seed = secrets.randbits(63)
    return Episode(task, [Rollout(task, seed, p.student.chat.open(task.prompt)) for p in players])


def attempt(player: Player, rollout: Rollout, sampling: Sampling) -> None:
    """The player's next attempt with its verdict, or the reason why there is none."""
    text = player.reply(rollout, sampling)
    if text is None:
        rollout.stop_reason = StopReason.CONTEXT_FULL
        return
    if rollout.task.privilege.reference.strip():
        judge([(rollout, text)])
    else:
        rollout.turns.append(Turn(text, Verdict(False, 0.0, extract_text(text), "not checked: no reference")))
    if rollout.stop_reason is None and len(rollout.turns) >= MAX_TURNS:
        rollout.stop_reason = StopReason.TURN_LIMIT


def tell(player: Player, rollout: Rollout, feedback: Feedback) -> None:
    """Feedback on the last attempt, onto the ledger and the record."""
    turn = rollout.turns[-1]
    player.student.chat.feedback(rollout.ledger, feedback.text, len(rollout.turns))
    rollout.turns[-1] = Turn(turn.attempt, turn.verdict, feedback)


def words_of(text: str) -> Feedback:
    """A visitor's feedback. The visitor is the teacher here, so it goes past the guard."""
    text = check_length("The feedback", text)
    if not text:
        raise UsageError("There is no feedback yet: type what is wrong.")
    return Feedback(text, "visitor")


def ask_teacher(teacher: Teacher, rollout: Rollout) -> Feedback | None:
    """The privileged teacher's guarded words about the last attempt; ends the dialogue when there are none."""
    feedback = ask(teacher, Guard(), [rollout])[0]
    if feedback is None:
        rollout.stop_reason = StopReason.TEACHER_ERROR
    return feedback


@dataclass(frozen=True, slots=True)
class Mark:
    """How an attempt is marked for a reader: `kind` is correct | wrong | unknown."""

    kind: str
    words: str
    repeat: bool

    @property
    def sign(self) -> str:
        return {"correct": "✓", "wrong": "✗", "unknown": "?"}[self.kind]


def mark(episode: Episode, rollout: Rollout, index: int) -> Mark:
    """The mark of attempt `index`: what was read from it, and whether that had been said before."""
    verdict = rollout.turns[index].verdict
    earlier = [t.verdict.answer for t in rollout.turns[:index]]
    repeat = not verdict.correct and verdict.answer is not None and verdict.answer in earlier
    if not episode.checked:
        return Mark("unknown", "not checked, there is no reference", repeat)
    answer = verdict.answer if verdict.answer is None or len(verdict.answer) <= 60 else verdict.answer[:60] + "…"
    kind = "correct" if verdict.correct else "wrong"
    return Mark(kind, f"{kind}: {verdict.reason if answer is None else answer}", repeat)


ENDINGS = {
    StopReason.SOLVED: "solved",
    StopReason.TURN_LIMIT: f"stopped after {MAX_TURNS} attempts",
    StopReason.TOKEN_LIMIT: "stopped: the attempt was cut at its token limit",
    StopReason.CONTEXT_FULL: "stopped: the next attempt would not fit into the model's context",
    StopReason.VERIFIER_ERROR: "stopped: the verifier failed",
    StopReason.TEACHER_ERROR: "stopped: the teacher has nothing to say",
    StopReason.STUDENT_ERROR: "stopped: the model's server gave no answer",
}


def standing(rollout: Rollout) -> str:
    """Where a dialogue stands, in a few words."""
    count = f"attempt {len(rollout.turns)} of {MAX_TURNS}" if rollout.turns else "no attempt yet"
    if rollout.stop_reason is None:
        return f"{count}, waiting for feedback" if rollout.turns else count
    return f"{count}, {ENDINGS.get(rollout.stop_reason, rollout.stop_reason.value)}"


def seen_by_student(rollout: Rollout) -> list[dict[str, str]]:
    """The conversation as the student saw it. Nothing of the privilege is in reach here."""
    out = [{"role": "user", "content": rollout.task.prompt}]
    for turn in rollout.turns:
        out.append({"role": "assistant", "content": turn.attempt})
        if turn.feedback:
            out.append({"role": "user", "content": turn.feedback.text})
    return out


def known_to_teacher(episode: Episode, rollout: Rollout) -> dict[str, Any]:
    """What the teacher could read besides: the reference and the verdicts."""
    verdicts = []
    for i, turn in enumerate(rollout.turns):
        kind = mark(episode, rollout, i).kind
        verdicts.append({"attempt": i + 1, "mark": kind, "answer": turn.verdict.answer, "reason": turn.verdict.reason})
    return {"reference": episode.task.privilege.reference or None, "verdicts": verdicts}


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Untrusted text without control characters: no terminal escapes, no NUL, no direction overrides."""
    return _CONTROLS.sub("\ufffd", text)
