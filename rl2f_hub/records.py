"""The nouns of the project, as frozen records: Task, Privilege, Verdict, Feedback, Turn, Dialogue.

A task has a public half (what the student may read) and a private half, its `Privilege`. Nothing here imports
anything of ours, and nothing here renders a prompt: `dialogue/chat_format.py` builds the student's context from plain strings, so
that it cannot reach a `Privilege` at all.

Every record has `to_row` / `from_row`, the flat form that is written to JSON Lines and Parquet. Rows carry strings,
numbers, booleans and lists only; nested free-form settings travel as JSON text, so that Arrow never has to guess.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


class StopReason(enum.StrEnum):
    """Why a dialogue ended. Every dialogue has exactly one."""

    SOLVED = "solved"  # the verifier accepted an attempt
    TURN_LIMIT = "turn_limit"  # the last allowed attempt was wrong
    TOKEN_LIMIT = "token_limit"  # an attempt was cut at its token limit, and the recipe ends dialogues there
    CONTEXT_FULL = "context_full"  # the next turn would not fit into the student's context window
    VERIFIER_ERROR = "verifier_error"  # the verifier raised: the attempt counts as wrong
    TEACHER_ERROR = "teacher_error"  # the teacher had no feedback to give
    STUDENT_ERROR = "student_error"  # the student's server gave no attempt
    GAME_OVER = "game_over"  # the environment ended without success: no further attempt could change that
    CANCELLED = "cancelled"  # the user stopped the run


@dataclass(frozen=True, slots=True)
class Privilege:
    """What the teacher may see and the student must not: `kind` is answer | solution | tests | verdict.

    `kind` names the strongest thing that the source has. `tests` is the JSON text of a `sandbox.jobs.CodeTests`.
    """

    kind: str
    reference: str  # the right answer
    solution: str = ""
    tests: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """A single-turn verifiable problem."""

    task_id: str  # unique in a data set
    source: str  # what it came from, as a recipe names it
    domain: str  # what results are listed by
    prompt: str  # all that the student is told at first
    privilege: Privilege  # what only the teacher and the verifier see
    verifier: str  # a name in `verify.VERIFIERS`
    config: str = "{}"  # the JSON text of the settings that made it
    seed: int = 0  # the source's own number of it
    split: str = "train"  # train, eval, ood or pretrain

    @property
    def settings(self) -> dict[str, Any]:
        """What `config` holds. Raises: ValueError where that is no JSON object, which a row from elsewhere may bring."""
        try:
            settings = json.loads(self.config)
        except (ValueError, RecursionError):
            settings = None
        if not isinstance(settings, dict):
            raise ValueError(f"task {self.task_id}: config {self.config[:40]!r} is no JSON object")
        return settings

    def to_row(self) -> dict[str, Any]:
        """A row of the config `tasks`: flat, with the privilege's parts as columns of their own."""
        row = {k: getattr(self, k) for k in ("task_id", "source", "domain", "prompt")}
        row |= {"privilege": self.privilege.kind, "reference": self.privilege.reference}
        row |= {"solution": self.privilege.solution, "tests": self.privilege.tests}
        return row | {k: getattr(self, k) for k in ("verifier", "config", "seed", "split")}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Task:
        """The task that `to_row` made `row` of. Raises: KeyError where a column is missing."""
        privilege = Privilege(row["privilege"], row["reference"], row["solution"], row["tests"])
        names = ("task_id", "source", "domain", "prompt", "verifier", "config", "seed", "split")
        return cls(privilege=privilege, **{name: row[name] for name in names})


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verifier's judgement of one attempt: `correct` or not, and a `score` from 0 to 1.

    `answer` is what was extracted from the attempt (None when nothing was found), `reason` is a sentence a person can
    read, `observation` is what running the attempt showed (failing input, expected output) and is privileged. `final`
    says that no further attempt can succeed: the environment behind the task has ended.
    """

    correct: bool
    score: float
    answer: str | None
    reason: str
    observation: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """What a teacher's words took: tokens read and written by a model, retries included, and what they cost."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost + other.cost,
        )

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Feedback:
    """What the teacher says after a wrong attempt: its `text` and what `kind` of feedback it is.

    `leaked` lists the forms in which the guard saw the answer.
    `usage` is None where no model was asked.
    """

    text: str
    kind: str
    leaked: tuple[str, ...] = ()
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One attempt, its verdict and, unless it was the last, the feedback that followed.

    `cut` says that the attempt reached the token limit of a turn before it ended itself.
    """

    attempt: str
    verdict: Verdict
    feedback: Feedback | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A whole didactic dialogue on the task `task_id`, whose public half is its `prompt`: `turns`, and why it ended."""

    dialogue_id: str  # the task's id and the seed of the student's sampling
    task_id: str
    prompt: str
    turns: tuple[Turn, ...]
    stop_reason: StopReason  # why it ended
    student: str  # the name of the model that attempted
    teacher: str  # the name of who gave feedback
    privilege: str  # `Privilege.kind` of the task
    sampling: dict[str, Any] = field(default_factory=dict)  # temperature, top_p, turn_tokens

    @property
    def solved_at(self) -> int:
        """The 1-based turn of the first correct attempt, 0 if there is none."""
        return next((i + 1 for i, turn in enumerate(self.turns) if turn.verdict.correct), 0)

    @property
    def usage(self) -> Usage:
        """What the feedback of all turns took together."""
        return sum((t.feedback.usage for t in self.turns if t.feedback and t.feedback.usage), Usage())

    def messages(self) -> list[dict[str, str]]:
        """The public conversation: the task, then attempts and feedback in turn."""
        out = [{"role": "user", "content": self.prompt}]
        for turn in self.turns:
            out.append({"role": "assistant", "content": turn.attempt})
            if turn.feedback is not None:
                out.append({"role": "user", "content": turn.feedback.text})
        return out

    def to_row(self) -> dict[str, Any]:
        """A row of the config `dialogues`; what is privileged in a verdict stays out."""
        turns = [
            {
                "attempt": turn.attempt,
                "answer": turn.verdict.answer,
                "correct": turn.verdict.correct,
                "score": float(turn.verdict.score),
                "reason": turn.verdict.reason,
                "feedback": turn.feedback.text if turn.feedback else None,
                "feedback_kind": turn.feedback.kind if turn.feedback else None,
                "leaked": bool(turn.feedback and turn.feedback.leaked),
                "cut": turn.cut,
                **_usage_row(turn.feedback.usage if turn.feedback else None),
            }
            for turn in self.turns
        ]
        return {
            "dialogue_id": self.dialogue_id,
            "task_id": self.task_id,
            "messages": self.messages(),
            "turns": turns,
            "solved_at": self.solved_at,
            "stop_reason": self.stop_reason.value,
            "student": self.student,
            "teacher": self.teacher,
            "privilege": self.privilege,
            "teacher_tokens": self.usage.tokens,
            "teacher_cost": self.usage.cost,
            "sampling": json.dumps(self.sampling, sort_keys=True),
        }

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Dialogue:
        """The dialogue behind `row`, without what `to_row` leaves out. Raises: KeyError where a column is missing."""
        turns = []
        for t in row["turns"]:
            verdict = Verdict(t["correct"], t["score"], t["answer"], t["reason"])
            leaked = ("recorded",) if t["leaked"] else ()
            feedback = None if t["feedback"] is None else Feedback(t["feedback"], t["feedback_kind"], leaked, _usage(t))
            cut = bool(t.get("cut"))  # rows of earlier versions do not say
            turns.append(Turn(t["attempt"], verdict, feedback, cut))
        names = ("dialogue_id", "task_id", "student", "teacher", "privilege")
        return cls(
            prompt=row["messages"][0]["content"],
            turns=tuple(turns),
            stop_reason=StopReason(row["stop_reason"]),
            sampling=json.loads(row["sampling"]),
            **{name: row[name] for name in names},
        )


def _usage_row(usage: Usage | None) -> dict[str, Any]:
    return {
        "feedback_prompt_tokens": usage.prompt_tokens if usage else None,
        "feedback_tokens": usage.completion_tokens if usage else None,
        "feedback_cost": float(usage.cost) if usage else None,
    }


def _usage(turn: dict[str, Any]) -> Usage | None:
    """None for turns without a model's feedback, and for rows written before usage was recorded."""
    if turn.get("feedback_tokens") is None:
        return None
    return Usage(turn["feedback_prompt_tokens"], turn["feedback_tokens"], turn["feedback_cost"])


def fingerprint(rows: Iterable[Any]) -> str:
    """SHA-256 over the canonical JSON of `rows` (records or plain values), in order: equal content, equal hex string."""
    digest = hashlib.sha256()
    for row in rows:
        value = row.to_row() if hasattr(row, "to_row") else row
        digest.update(json.dumps(value, sort_keys=True, ensure_ascii=False, default=asdict).encode())
        digest.update(b"\n")
    return digest.hexdigest()
