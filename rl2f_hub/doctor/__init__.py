"""`rl2f doctor [RECIPE]`: can this machine do the work, and can the recipe's work be done, before hours are spent.

Every check is a line with ok, warn or fail and, unless it is ok, the fix. `fail` means that a run would end with an
error; `warn` that it may, or that something could not be looked at. What the run itself checks is checked by the same
code. Nothing is trained, and nothing downloaded but the model's configuration and tokenizer and the tasks, which stay in
the cache where the run will look for them.

Left out: whether a teacher's endpoint answers (it costs money), quotas of the Hub, the network's speed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rl2f_hub.errors import RL2FError, not_installed

if TYPE_CHECKING:
    from rl2f_hub.recipe import Recipe  # `rl2f --help` loads this package

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, how it is, what was found, and what to do about it."""

    name: str
    status: Status
    found: str
    fix: str = ""


@dataclass(slots=True)
class Report:
    """All checks of a machine and, with a recipe, of its run; `memory` has a row for each stage."""

    checks: list[Check] = field(default_factory=list)
    memory: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(check.status != "fail" for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks], "memory": self.memory}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be judged beside the recipe: the run's folder, a GPU that is not here, lengths, processes."""

    out: Path
    gpu_gib: float | None = None
    model_config: Path | None = None
    prompt_tokens: int | None = None
    feedback_tokens: int | None = None
    processes: int = 1


def examine(recipe: Recipe | None, asked: Asked) -> Report:
    """Runs every check; one that breaks is a failed check, not the end."""
    from rl2f_hub.doctor import machine, plan
    from rl2f_hub.pipeline import quiet_libraries

    report = Report()
    with _hub_of(recipe, asked.out):
        quiet_libraries()
        for name, check in [*machine.CHECKS, *(plan.CHECKS if recipe else [])]:
            _run(name, check, recipe, asked, report)
    return report


def _run(name: str, check: Callable[..., Any], recipe: Recipe | None, asked: Asked, report: Report) -> None:
    try:
        report.checks.extend(check(recipe, asked, report))
    except RL2FError as error:
        report.checks.append(failed(name, error))
    except Exception as error:  # a check is about other people's software: whatever it raises is a finding
        text = " ".join(str(error).split())[:200]
        found, _, fix = (not_installed(error) or f"{type(error).__name__}: {text}; see what it names").rpartition("; ")
        report.checks.append(Check(name, "fail", found, fix))


def failed(name: str, error: RL2FError) -> Check:
    """What an error of ours says, as a line: what was found before its first semicolon, the fix behind it."""
    found, _, fix = str(error).partition("; ")
    return Check(name, "fail", found, fix)


def _hub_of(recipe: Recipe | None, out: Path) -> AbstractContextManager[Any]:
    """The recipe's Hub where something is read from it; the embedded one is not started for nothing."""
    if recipe is None or (recipe.hub.endpoint == "local" and recipe.model.id is None and not _reads_hub(recipe)):
        return nullcontext()
    from rl2f_hub.pipeline import open_hub

    return open_hub(recipe, out)


def _reads_hub(recipe: Recipe) -> bool:
    sources = [*recipe.tasks.train, *recipe.tasks.eval, *recipe.tasks.ood]
    return any(s.source.startswith("hub:") or ":" not in s.source for s in sources)
