"""The suites of an evaluation: who answers the student, what else is asked of it, and how one suite is played.

Every suite plays the same tasks with the same seeds and the same limits; first attempts are word for word the same
wherever the student has heard nothing yet. `play` returns dialogue rows with what only an evaluation adds to them:
tokens written and heard by turn, log p(reference) before each attempt, the student's judgement of itself, and the wrong
answer that it was told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl2f_hub.dialogue.context_window import RULES, Rules
from rl2f_hub.dialogue.runner import Rollout, Student, run_dialogues
from rl2f_hub.dialogue.timings import Timings
from rl2f_hub.engines import Sampling, derive_seed
from rl2f_hub.evaluation.plasticity import gold_logps
from rl2f_hub.kinds import SUITES, Suite
from rl2f_hub.recipe.teacher_sections import TeacherSpec
from rl2f_hub.records import Task
from rl2f_hub.teachers import Teacher, build_teacher, probes
from rl2f_hub.teachers.judging import build_guard
from rl2f_hub.verify import verifier_of

ENVIRONMENTS = ("FrozenLake-v0", "Wordle-v0", "KuhnPoker-v0-short", "SimpleNegotiation-v0-short")
ENVIRONMENT_TURNS = 12  # the least that the suite `environment` is given: these games need more turns than a question


@dataclass(frozen=True)
class Settings:
    """What all suites of an evaluation share.

    Attributes:
        turn_tokens: most tokens of one attempt.
        temperature: 0 is greedy. Fresh attempts (`resample`) are drawn at `resample_temperature` then.
        plays_on: go on after right attempts in the suites that can.
        gold_tasks: at most so many dialogues of a suite are asked for log p(reference).
        critique: where the student judges itself, see `probes.SelfCritic`.
        resample_calls: attempts of the suite `resample`; None: as many as `max_turns`.
        wave: dialogues at once. The control `shuffled` depends on it.
        overlap: see `run_dialogues`.
        folder: where a teacher keeps its bill.
    """

    max_turns: int
    turn_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    resample_temperature: float = 1.0
    plays_on: bool = True
    gold_tasks: int = 0
    critique: probes.CritiqueForm = "asked"
    critique_tokens: int = 96
    resample_calls: int | None = None
    wave: int = 256
    overlap: bool | None = None
    teacher: TeacherSpec = field(default_factory=TeacherSpec)
    rules: Rules = RULES
    folder: Path | None = None

    def sampling(self, suite: str) -> Sampling:
        """How attempts of a suite are drawn."""
        temperature = self.temperature or (self.resample_temperature if suite == "resample" else 0.0)
        return Sampling(temperature=temperature, top_p=self.top_p, turn_tokens=self.turn_tokens)

    def turns(self, suite: str) -> int:
        """Most attempts of a dialogue of a suite."""
        if suite == "environment":
            return max(self.max_turns, ENVIRONMENT_TURNS)
        return max(self.resample_calls or 0, self.max_turns) if suite == "resample" else self.max_turns

    def went_on(self, suite: str) -> bool:
        """Whether dialogues of a suite go on after right attempts."""
        known = SUITES[suite]
        if known.self_critic or known.pressure:
            return True
        return self.plays_on and known.plays_on and not self.spec_of(known).has_independent_attempts

    def spec_of(self, suite: Suite) -> TeacherSpec:
        """The settings of a suite's teacher. A control is the same for every recipe: never doubted, as the recipe's own
        teacher of that kind may be."""
        if suite.teacher in ("", self.teacher.kind):
            return self.teacher.model_copy(update={"doubt_rate": 0.0}) if suite.teacher else self.teacher
        return TeacherSpec(kind=suite.teacher)


def play(
    suite: str,
    tasks: Sequence[Task],
    student: Student,
    settings: Settings,
    seed: int,
    on_wave: Callable[[int], None] | None = None,
    timings: Timings | None = None,
) -> list[dict[str, Any]]:
    """Dialogue rows of one suite, a dialogue a task, in order; their time and tokens are added to `timings`."""
    if SUITES[suite].self_critic:
        tasks = [task for task in tasks if not verifier_of(task).answers_itself]
    teacher = teacher_of(suite, student, settings)
    guard = build_guard(settings.teacher, student)
    sampling = settings.sampling(suite)
    rollouts = run_dialogues(
        tasks,
        student,
        teacher,
        guard=guard,
        max_turns=settings.turns(suite),
        sampling=sampling,
        seed=seed,
        wave=settings.wave,
        on_wave=on_wave,
        rules=settings.rules,
        timings=timings,
        overlap=settings.overlap,
    )
    rows = [_row(r, student, teacher.name, sampling, seed, fresh=suite == "resample") for r in rollouts]
    if SUITES[suite].gold and settings.gold_tasks:
        asked = rollouts[: settings.gold_tasks]
        for row, values in zip(rows, gold_logps(student, asked), strict=False):
            for turn, value in zip(row["turns"], values, strict=True):
                turn["gold_logp"] = value
    if isinstance(teacher, probes.SelfCritic):
        for row, rollout in zip(rows, rollouts, strict=True):
            for t, turn in enumerate(row["turns"], 1):
                turn["accepted"], turn["confidence"] = teacher.judged.get((rollout.seed, t), (None, None))
    if suite == "wrong_answer":
        for row, rollout in zip(rows, rollouts, strict=True):
            task = rollout.task
            row["hint"] = probes.decoy(task.privilege.reference, task.verifier, task.prompt) or None
    return rows


def teacher_of(suite: str, student: Student, settings: Settings) -> Teacher:
    """Who answers in a suite."""
    known = SUITES[suite]
    if known.self_critic:
        return probes.SelfCritic(student, settings.critique, 0.0, settings.critique_tokens)
    teacher = build_teacher(settings.spec_of(known), student, settings.folder)
    return probes.PlaysOn(teacher) if settings.plays_on and known.plays_on else teacher


def _row(
    rollout: Rollout, student: Student, teacher: str, sampling: Sampling, seed: int, fresh: bool
) -> dict[str, Any]:
    """A dialogue as a row. Tokens are those sampled and read; where the ledger does not hold them all, of the texts.

    Behind an endpoint nobody here can count them.
    """
    row = rollout.dialogue(student.name, teacher, sampling).to_row() | {"seed": seed, "source": rollout.task.source}
    whole = not rollout.forked and not fresh
    for t, turn in enumerate(row["turns"], 1):
        if student.engine.is_remote:
            turn["student_tokens"] = turn["heard_tokens"] = None
        elif whole:
            turn["student_tokens"] = len(rollout.ledger.of("student", t))
            turn["heard_tokens"] = len(rollout.ledger.of("teacher", t))
        else:
            turn["student_tokens"] = len(student.chat.encode(turn["attempt"])) + (not turn["cut"])
            turn["heard_tokens"] = len(student.chat.encode(turn["feedback"] or ""))
    return row


def environment_tasks(count: int, seed: int) -> list[Task]:
    """`count` tasks of each game of the suite `environment`, always the same for a seed.

    Raises:
        UsageError: textarena is not installed.
    """
    from rl2f_hub.recipe.task_sections import SourceSpec
    from rl2f_hub.tasks import load_tasks

    sources = [SourceSpec(source=f"textarena:{name}", count=count) for name in ENVIRONMENTS]
    return load_tasks({"eval": sources}, derive_seed("environment", seed) % (1 << 31))["eval"]


def resample_depth(rows: Sequence[dict[str, Any]], settings: Settings) -> int:
    """How many fresh attempts cost as much as a dialogue that used all its turns, between 1 and 8 times `max_turns`.

    From the rows of `teacher`: the median of all tokens in such dialogues over the mean tokens of an attempt.
    """
    budget = full_budget(rows, settings.max_turns)
    if budget is None:
        return settings.max_turns
    attempts = [turn["student_tokens"] for row in rows for turn in row["turns"]]
    needed = -(-budget // max(sum(attempts) / len(attempts), 1))
    return int(min(max(needed, settings.max_turns), 8 * settings.max_turns))


def full_budget(rows: Sequence[dict[str, Any]], max_turns: int) -> float | None:
    """Median tokens (written and heard) of dialogues that went unsolved through all turns; None without any, or uncounted."""
    if any(turn["student_tokens"] is None for row in rows for turn in row["turns"]):
        return None
    spent = sorted(
        sum(turn["student_tokens"] for turn in row["turns"]) + sum(turn["heard_tokens"] for turn in row["turns"][:-1])
        for row in rows
        if row["solved_at"] == 0 and len(row["turns"]) >= max_turns
    )
    return float(spent[len(spent) // 2]) if spent else None
