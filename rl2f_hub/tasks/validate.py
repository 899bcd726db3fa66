"""Is the verifier right? Checks a source without any model: what must pass, passes, and what must fail, fails.

For each task: the reference (bare, and as a sentence where it is one line) must be accepted; nothing at all, the
question quoted, perturbed references, another task's reference and a list of candidates must be refused. Code is
perturbed by single changes of its syntax tree (`mutants.py`); environments by moves that lead elsewhere. A perturbation
can happen to be another right answer: that is what the bounds are for.

The first tasks whose bare reference passes are also tried in every wrapping that fits them (`wrappings.py`): `wrapped`
ones must be accepted, `trap` ones refused, and each is counted by its name.
"""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from rl2f_hub.errors import RL2FError
from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.records import Task
from rl2f_hub.tasks import request_for, stream
from rl2f_hub.tasks.mutants import mutants
from rl2f_hub.tasks.wrappings import wrapped
from rl2f_hub.verify import verifier_of, verify_many

EXAMPLES = 5  # surprises that a report shows
PERTURBED = 3  # perturbed references tried per task
WRAPPED_TASKS = 5  # tasks per source that are tried in every wrapping


@dataclass(slots=True)
class SourceReport:
    """What was tried on one source. `accepted` and `tried` count by probe; `examples` shows the first surprises."""

    source: str
    verifier: str = ""
    tasks: int = 0
    tried: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    unmutated: int = 0  # code tasks none of whose mutants failed
    seconds: float = 0.0
    note: str = ""  # why the source could not be validated
    unreferenced: int = 0  # tasks without a known right answer: only refusals can be checked
    examples: list[str] = field(default_factory=list)

    @property
    def false_rejects(self) -> float:
        """Share of right attempts that were judged wrong."""
        right = [probe for probe in self.tried if is_right(probe)]
        tried = sum(self.tried[p] for p in right)
        return 1 - sum(self.accepted[p] for p in right) / tried if tried else 0.0

    @property
    def false_accepts(self) -> float:
        """Share of wrong attempts that were judged right."""
        wrong = [probe for probe in self.tried if not is_right(probe) and probe not in UNDECIDED]
        tried = sum(self.tried[p] for p in wrong)
        return sum(self.accepted[p] for p in wrong) / tried if tried else 0.0

    @property
    def failed_wrappings(self) -> list[str]:
        """The wrappings that were judged wrongly at least once, with how often they were accepted of how often tried."""
        wrappings = [p for p in self.tried if p.startswith((WRAPPED, TRAP))]
        return [
            f"{p} {self.accepted[p]}/{n}" for p in wrappings if self.accepted[p] != (n := self.tried[p]) * is_right(p)
        ]

    @property
    def seconds_per_verdict(self) -> float:
        return self.seconds / max(1, sum(self.tried.values()))

    def to_row(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "verifier": self.verifier,
            "tasks": self.tasks,
            "verdicts": sum(self.tried.values()),
            "false_rejects": round(self.false_rejects, 4),
            "false_accepts": round(self.false_accepts, 4),
            "accepted": {p: f"{self.accepted[p]}/{n}" for p, n in self.tried.items()},
            "failed_wrappings": self.failed_wrappings,
            "errors": self.errors,
            "tasks_without_failing_mutant": self.unmutated,
            "tasks_without_reference": self.unreferenced,
            "seconds_per_verdict": round(self.seconds_per_verdict, 5),
            "note": self.note,
            "examples": self.examples,
        }


RIGHT = ("reference", "reference stated")
WRAPPED, TRAP = "wrapped: ", "trap: "  # what the probes of `wrappings.py` begin with
UNDECIDED = ("perturbed, may be right", "another's, may be right")  # tasks with many right answers: shown, not counted


def is_right(probe: str) -> bool:
    """Whether the attempts of a probe must be accepted."""
    return probe in RIGHT or probe.startswith(WRAPPED)


def validate(spec: SourceSpec, seed: int = 0) -> SourceReport:
    """Probe `spec.count` tasks of a source. Never raises for what the source does: the reason stands in `note`."""
    report = SourceReport(spec.source)
    try:
        request = request_for(spec, "source", seed)
        tasks = list(islice(stream(request), spec.count))
    except (RL2FError, ImportError) as error:
        report.note = str(error)
        return report
    except Exception as error:  # a generator of the source's own that breaks is a finding, not a crash
        report.note = f"its tasks cannot be made: {type(error).__name__}: {error}"
        return report
    if not tasks:
        report.note = "the source has no tasks"
        return report
    report.tasks, report.verifier = len(tasks), tasks[0].verifier
    report.unreferenced = sum(right_attempt(t) is None and not verifier_of(t).answers_itself for t in tasks)
    probes = [p for i, task in enumerate(tasks) for p in _probes(task, tasks[(i + 1) % len(tasks)], seed)]
    accepted = _judge(report, probes)
    _judge(report, list(_wrapped_probes(tasks, probes, accepted)))
    failed = Counter(p.task.task_id for p, ok in zip(probes, accepted, strict=True) if p.name == "perturbed" and not ok)
    report.unmutated = sum(not failed[task.task_id] for task in tasks) if report.verifier == "unit_tests" else 0
    return report


@dataclass(frozen=True, slots=True)
class Probe:
    """An attempt at a task, `name`d by what it tries."""

    name: str
    task: Task
    attempt: str
    earlier: tuple[str, ...] = ()


def _judge(report: SourceReport, probes: Sequence[Probe]) -> list[bool]:
    """Whether each probe was accepted (an error counts as refused), noted in the report."""
    shown: set[str] = set()  # one example per probe
    started = time.perf_counter()
    verdicts = verify_many([(p.task, p.attempt, p.earlier) for p in probes])
    report.seconds += time.perf_counter() - started
    for p, verdict in zip(probes, verdicts, strict=True):
        report.tried[p.name] += 1
        if isinstance(verdict, Exception):
            report.errors += 1
            surprise = f"raised {verdict}"
        else:
            report.accepted[p.name] += verdict.correct
            surprise = verdict.reason if verdict.correct != is_right(p.name) and p.name not in UNDECIDED else ""
        if surprise and p.name not in shown and len(report.examples) < EXAMPLES:
            shown.add(p.name)
            report.examples.append(f"{p.task.task_id}: {p.name} {p.attempt[-80:]!r}: {surprise}")
    return [not isinstance(verdict, Exception) and verdict.correct for verdict in verdicts]


def _wrapped_probes(tasks: Sequence[Task], probes: Sequence[Probe], accepted: Sequence[bool]) -> Iterator[Probe]:
    """Wrapped attempts at the first tasks whose bare reference is accepted, with a wrong answer that is refused.

    Another task's answer looks more like one than a perturbed reference; another task's function has another name, and
    is no second attempt at this one.
    """
    judged = list(zip(probes, accepted, strict=True))
    sound = [p.task for p, ok in judged if p.name == "reference" and ok]
    for task in sound[:WRAPPED_TASKS]:
        right = right_attempt(task)
        refused = [p for p, ok in judged if p.task is task and not ok and p.name.startswith(("another's", "perturbed"))]
        refused.sort(key=lambda p: p.name.startswith("perturbed") != (p.task.verifier == "unit_tests"))
        for wrapping, attempt in wrapped(task, right or "", refused[0].attempt if refused else None):
            yield Probe((WRAPPED if wrapping.right else TRAP) + wrapping.name, task, attempt)


def _probes(task: Task, other: Task, seed: int) -> Iterator[Probe]:
    yield Probe("empty", task, "")
    yield Probe("question", task, task.prompt)
    if verifier_of(task).answers_itself:
        yield from _walks(task, other)
        return
    right = right_attempt(task)
    if right is None:
        return
    doubt = "" if verifier_of(task).has_one_answer(task) else ", may be right"
    yield Probe("reference", task, right)
    if task.verifier == "unit_tests":
        for mutant in mutants(right, seed, PERTURBED):
            yield Probe("perturbed", task, mutant)
    else:
        if "\n" not in right and len(right) < 200:
            yield Probe("reference stated", task, f"I worked it out. The answer is {right}")
        wrong = perturbed(right, random.Random(f"{seed}/{task.task_id}"))
        for value in wrong[:PERTURBED]:
            yield Probe(f"perturbed{doubt}", task, value)
        if wrong and "\n" not in right and "," not in right:
            yield Probe("listing", task, f"{wrong[0]}, {right} or {wrong[-1]}x")
    foreign = right_attempt(other)
    if foreign is not None and " ".join(foreign.split()).casefold() != " ".join(right.split()).casefold():
        yield Probe(f"another's{doubt}", task, foreign)


def _walks(task: Task, other: Task) -> Iterator[Probe]:
    """An environment's solution is a list of moves, one a line: played whole it wins, without its last move it does not."""
    moves = task.privilege.solution.splitlines()
    if moves:
        yield Probe("reference", task, moves[-1], tuple(moves[:-1]))
    if len(moves) > 1:
        yield Probe("perturbed", task, moves[-2], tuple(moves[:-2]))
    foreign = other.privilege.solution.splitlines()
    if foreign and foreign != moves:
        yield Probe("another's", task, foreign[0] if len(moves) > 1 else foreign[-1])


def right_attempt(task: Task) -> str | None:
    """An attempt that must be accepted, made of the task's privilege; None where the source gives none."""
    reference = verifier_of(task).right_attempt(task)
    return reference if reference.strip() and reference != "None" else None


def perturbed(reference: str, rng: random.Random) -> list[str]:
    """Texts that differ from the reference in more than spacing and case, and in numbers by more than a rounding."""
    out: list[str] = []
    numbers = list(re.finditer(r"\d+(?:\.\d+)?", reference))
    for place in rng.sample(numbers, min(2, len(numbers))):
        text = place[0][:300]
        other = str(int(text) + rng.choice([1, 2, 7, 10])) if text.isdecimal() else f"{float(text) * 1.5 + 1:g}"
        out.append(reference[: place.start()] + other + reference[place.end() :])
    if re.fullmatch(r"-?\d+(?:\.\d+)?", reference.strip()):
        out.append(reference.strip()[1:] if reference.strip()[0] == "-" else f"-{reference.strip()}")
        return [x for x in out if float(x) != float(reference)]
    words = reference.split(" ")
    letters = [i for i, c in enumerate(reference) if c.isalpha()]
    if len(words) > 2:
        i = rng.randrange(len(words) - 1)
        out.append(" ".join([*words[:i], words[i + 1], words[i], *words[i + 2 :]]))
    if letters:
        i = rng.choice(letters)
        out.append(reference[:i] + chr((ord(reference[i].lower()) - 97 + 1) % 26 + 97) + reference[i + 1 :])
    out.append(f"{reference} {reference}")
    plain = " ".join(reference.split()).casefold()
    return [x for x in dict.fromkeys(out) if x.strip() and " ".join(x.split()).casefold() != plain]


def summary_rows(reports: Sequence[SourceReport]) -> list[list[str]]:
    """The table for people: one row a source."""
    rows = []
    for r in reports:
        if r.note:
            rows.append([r.source, "-", "0", "-", "-", "-", "-", r.note])
            continue
        notes = [f"{p} {r.accepted[p]}/{n}" for p, n in r.tried.items() if r.accepted[p] != n * is_right(p)]
        notes += [f"{r.errors} verifier errors"] if r.errors else []
        notes += [f"{r.unmutated} tasks without a failing mutant"] if r.unmutated else []
        notes += [f"{r.unreferenced} of {r.tasks} tasks have no known right answer"] if r.unreferenced else []
        rows.append(
            [
                r.source,
                r.verifier,
                str(r.tasks),
                str(sum(r.tried.values())),
                f"{100 * r.false_rejects:.1f} %",
                f"{100 * r.false_accepts:.1f} %",
                f"{1000 * r.seconds_per_verdict:.2f} ms",
                "; ".join(notes),
            ]
        )
    return rows


HEADER = [
    "source",
    "verifier",
    "tasks",
    "verdicts",
    "false rejects",
    "false accepts",
    "a verdict",
    "surprises (accepted/tried)",
]
