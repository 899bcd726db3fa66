"""The evaluation driver: plays the parts of an evaluation that have no file yet, and turns their files into figures.

A part is one student under one suite on some tasks, and one file of dialogues. A recipe's run (`stage.py`) and any
models (`models.py`) only differ in which parts they list and in how their students are opened. A file on disk is whole:
an interrupted evaluation resumes with the next part and ends with the same figures. Under several processes a part's
tasks are split between them; the texts are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rl2f_hub.dialogue.runner import Student
from rl2f_hub.dialogue.timings import Timings
from rl2f_hub.evaluation.suites import Settings, play, resample_depth
from rl2f_hub.evaluation.summary import SCHEMA, entry_of, gains
from rl2f_hub.records import Task
from rl2f_hub.runs import read_rows, write_rows
from rl2f_hub.runtime import processes
from rl2f_hub.runtime.progress import bar

Rows = list[dict[str, Any]]
# Feedback there depends on the other dialogues of the batch, or only the first tasks are scored: one process plays all.
SINGLE_PROCESS_SUITES = ("shuffled",)


@dataclass(frozen=True)
class Part:
    """One file of dialogues.

    Attributes:
        student: the name under which the student is opened and listed.
        suite: a name in `suites.SUITES`.
        prefix: `ood_` for tasks of kinds that training never sees, else empty.
        tasks: a dialogue each, in this order.
        seed: of the attempts' sampling.
        file: where the dialogues are kept.
        with_teacher: finds the dialogues with the teacher whose length `resample` is given in fresh attempts.
    """

    student: str
    suite: str
    tasks: Sequence[Task]
    settings: Settings
    seed: int
    file: Path
    prefix: str = ""
    with_teacher: Callable[[], Rows | None] = lambda: None

    @property
    def decoding(self) -> str:
        return "sampled" if self.settings.sampling(self.suite).temperature else "greedy"


Opener = Callable[[list[str]], Iterable[tuple[str, Student]]]  # names -> (name, student), one after the other


def play_parts(parts: Sequence[Part], open_students: Opener) -> None:
    """Play the parts that have no file yet. Students with nothing left to play are not opened."""
    missing = [part for part in parts if not part.file.is_file()]
    total, todo = (sum(len(part.tasks) for part in some) for some in (parts, missing))
    timings = Timings()
    with bar("evaluate", total, "dialogues", start=total - todo) as advance:
        for name, student in open_students(list(dict.fromkeys(part.student for part in missing))):
            for part in (p for p in missing if p.student == name):
                rows = processes.gathered(_play(part, student, timings))
                if processes.is_main():
                    write_rows(part.file, rows)
                processes.wait()
                advance(len(part.tasks), note=f"{name} {part.prefix}{part.suite}, {timings.note()}")


def _play(part: Part, student: Student, timings: Timings) -> Rows:
    settings, tasks = part.settings, part.tasks
    if part.suite == "resample" and (rows := part.with_teacher()) is not None:
        settings = replace(settings, resample_calls=resample_depth(rows, settings))
    if part.suite not in SINGLE_PROCESS_SUITES and not settings.gold_tasks:
        tasks = processes.share(tasks)
    elif not processes.is_main():
        tasks = []
    return play(part.suite, tasks, student, settings, part.seed, timings=timings)


def read_parts(parts: Iterable[Part]) -> Rows:
    """The dialogues of all these parts, in order."""
    return [row for part in parts for row in read_rows(part.file)]


def summarise(parts: Sequence[Part], max_turns: int, resamples: int, seed: int) -> dict[str, Any]:
    """The figures of every student under every suite, and each student's gains over the controls.

    A suite's main figures are those of the decoding listed first; a second one stands below `sampled`. The gains compare
    the decoding listed last, since fresh attempts are always sampled.
    """
    students: dict[str, Any] = {}
    worth: dict[str, Any] = {}
    for name in dict.fromkeys(part.student for part in parts):
        students[name], worth[name] = {}, {}
        comparable: dict[str, dict[str, Rows]] = {"": {}, "ood_": {}}
        for some in _by_file_group(part for part in parts if part.student == name):
            first, rows = some[0], read_parts(some)
            settings, suite = first.settings, first.suite
            entry = entry_of(suite, rows, settings.turns(suite), settings.went_on(suite), resamples, seed)
            entry["decoding"] = first.decoding
            main = students[name].setdefault(first.prefix + suite, entry)
            if main is not entry:
                main["sampled"] = entry
            comparable[first.prefix][suite] = rows
        for prefix, suites in comparable.items():
            worth[name] |= {prefix + key: value for key, value in gains(suites, max_turns, resamples, seed).items()}
    return {"schema": SCHEMA, "students": students, "gains": worth}


def _by_file_group(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Parts of one suite and decoding together, in the order in which they are listed first."""
    groups: dict[tuple[str, str, str], list[Part]] = {}
    for part in parts:
        groups.setdefault((part.prefix, part.suite, part.decoding), []).append(part)
    yield from groups.values()
