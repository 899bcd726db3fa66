"""Every built-in kind of part by the name that a recipe gives it, and where it is: one line each. Nothing is imported here.

A new built-in kind is one file and one line of this module: the recipe's checks, the choices that errors, `--help` and the
references name, and the loading all derive from it. A part of a user's own needs no line: `python:<file>:<name>`
(`find_part`), which the permission `--allow-local-code` lets run.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.runtime import permits

OWN = "python:"  # how the path of a user's own part begins


@dataclass(frozen=True, slots=True)
class TeacherKind:
    """A kind of teacher: `where` its class is (`module:name`), and what a recipe's checks know before it is loaded.

    `section` is the section of settings that it needs, `weaker_hints` says that a curriculum can make it say less, and
    `independent_attempts` that its dialogues have no history.
    """

    where: str
    section: str = ""
    weaker_hints: bool = False
    independent_attempts: bool = False


TEACHERS = {
    "scripted": TeacherKind("rl2f_hub.teachers.scripted:ScriptedTeacher", weaker_hints=True),
    "self": TeacherKind("rl2f_hub.teachers.model:SelfTeacher", weaker_hints=True),
    "model": TeacherKind("rl2f_hub.teachers.model:ModelTeacher", section="model", weaker_hints=True),
    "endpoint": TeacherKind("rl2f_hub.teachers.endpoint:EndpointTeacher", section="endpoint", weaker_hints=True),
    "none": TeacherKind("rl2f_hub.teachers.controls:NoTeacher", independent_attempts=True),
    "try_again": TeacherKind("rl2f_hub.teachers.controls:TryAgainTeacher"),
    "shuffled": TeacherKind("rl2f_hub.teachers.controls:ShuffledTeacher"),
    "leaked": TeacherKind("rl2f_hub.teachers.controls:LeakedTeacher"),
    "careless": TeacherKind("rl2f_hub.teachers.controls:CarelessTeacher"),
    "misleading": TeacherKind("rl2f_hub.teachers.controls:MisleadingTeacher"),
    "are_you_sure": TeacherKind("rl2f_hub.teachers.probes:AreYouSure"),
    "wrong_answer": TeacherKind("rl2f_hub.teachers.probes:WrongAnswer"),
}
VERIFIERS: dict[str, Any] = {  # a program may add a `Verifier` of its own
    "integer": "rl2f_hub.verify.exact:INTEGER",
    "text": "rl2f_hub.verify.exact:TEXT",
    "choice": "rl2f_hub.verify.exact:CHOICE",
    "math": "rl2f_hub.verify.mathematics:MATH",
    "grid": "rl2f_hub.verify.grid:GRID",
    "reasoning_gym": "rl2f_hub.tasks.scorers:REASONING_GYM",
    "unit_tests": "rl2f_hub.verify.unit_tests:UNIT_TESTS",
    "writing": "rl2f_hub.tasks.writing.verifier:WRITING",
    "environment": "rl2f_hub.verify.environment:ENVIRONMENT",
    "python": "rl2f_hub.verify.plugin:PYTHON",
}
ENVIRONMENTS = {  # games and other worlds that answer for themselves; a task's config names one as its `engine`
    "textarena": "rl2f_hub.tasks.textarena:TextArena",
}
SOURCES = {  # prefix of a task source -> the module whose `tasks(request)` streams it
    "reasoning_gym": "rl2f_hub.tasks.reasoning_gym:tasks",
    "hub": "rl2f_hub.tasks.hub:tasks",
    "csv": "rl2f_hub.tasks.local:tasks",
    "tsv": "rl2f_hub.tasks.local:tasks",
    "jsonl": "rl2f_hub.tasks.local:tasks",
    "parquet": "rl2f_hub.tasks.local:tasks",
    "human_eval": "rl2f_hub.tasks.human_eval:tasks",
    "textarena": "rl2f_hub.tasks.textarena:tasks",
    "writing": "rl2f_hub.tasks.writing:tasks",
    "python": "rl2f_hub.tasks.plugin:tasks",
}
CREDITS = {
    "dialogue": "rl2f_hub.training.credit:dialogue_credit",
    "turn": "rl2f_hub.training.credit:turn_credit",
}


@dataclass(frozen=True)
class Suite:
    """One way to answer a student in an evaluation.

    Attributes:
        title: for people.
        teacher: a kind of teacher; empty: the evaluation's own.
        plays_on: dialogues can go on after a right attempt, so that the final answer is known without an oracle.
        gold: log p(reference) is taken before each attempt.
        pressure: the teacher doubts right answers or names wrong ones.
        own_tasks: it brings its own tasks.
        self_critic: the student itself is the teacher.
    """

    title: str
    teacher: str = ""
    plays_on: bool = False
    gold: bool = False
    pressure: bool = False
    own_tasks: bool = False
    self_critic: bool = False


SUITES: dict[str, Suite] = {
    "teacher": Suite("with the teacher", plays_on=True, gold=True),
    "try_again": Suite('only "try again"', "try_again", plays_on=True, gold=True),
    "resample": Suite("fresh attempts, sampled", "none"),
    "shuffled": Suite("shuffled feedback", "shuffled", gold=True),
    "leaked": Suite("the answer stated", "leaked"),
    "misleading": Suite("misleading feedback", "misleading", pressure=True),
    "are_you_sure": Suite('only "are you sure?"', "are_you_sure", pressure=True),
    "wrong_answer": Suite("a wrong answer named", "wrong_answer", pressure=True),
    "autodidact": Suite("its own critique", self_critic=True),
    "environment": Suite("games, mazes, negotiation", own_tasks=True),
}


def is_known(table: Mapping[str, Any], name: str) -> bool:
    """Whether `name` is in a table of this module or has the form of a user's own part."""
    return name in table or (name.startswith(OWN) and name.count(":") >= 2)


def refusal_of(table: Mapping[str, Any], name: str, own: bool = True) -> str:
    """Why a name that is not `is_known` is refused: one line with the names there are."""
    return f"{name!r} is unknown{did_you_mean(name, [*table, *(['python:<file>:<name>'] if own else [])])}"


def find_part(table: Mapping[str, Any], name: str, field: str) -> Any:
    """The object that a kind's name, or the path of a user's own part, stands for.

    Args:
        field: how errors name the setting.
    Raises:
        UsageError: unknown; or a part of the user's own that is not permitted or cannot be loaded.
    """
    if name.startswith(OWN):
        return load_own(name, field)
    if name not in table:
        raise UsageError(f"{field}: {refusal_of(table, name)}")
    where = table[name]
    if not isinstance(where, str):
        return where
    module, _, attribute = where.partition(":")
    return getattr(import_module(module), attribute)


def load_own(path: str, field: str) -> Any:
    """The class or function that `python:<file>:<name>` names; the file is run once per process.

    Raises:
        UsageError: without the permission `local_code`, no such file, or the file cannot be run or has no such name.
    """
    file, _, name = path.removeprefix(OWN).rpartition(":")
    if not permits.allowed("local_code"):
        raise UsageError(
            f"{field}: {path} is code of your own; allow it with --allow-local-code (in Python: "
            "rl2f_hub.runtime.permits.allow(local_code=True))"
        )
    if not file or not Path(file).is_file():
        raise UsageError(f"{field}: no file {file!r}; write python:<file>:<name>")
    return _member(str(Path(file).resolve()), name, field)


@lru_cache(maxsize=64)
def _member(file: str, name: str, field: str) -> Any:
    try:
        return getattr(_module(file), name)
    except Exception as error:
        raise UsageError(f"{field}: {file}:{name} cannot be loaded: {type(error).__name__}: {error}") from None


@lru_cache(maxsize=64)
def _module(file: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"_rl2f_own_{Path(file).stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
