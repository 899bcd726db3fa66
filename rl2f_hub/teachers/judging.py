"""A model as the guard's judge: it reads each reply in which the detectors found nothing, and says LEAK or CLEAN.

The model is the student's own base, another local one, or a server; it is asked in batches, through the same machinery
as a teacher of that kind. Every prompt is judged once: verdicts are kept by the digest of the prompt.

The judged text is untrusted. It stands between marked lines, tags and special tokens in it are broken, and a reply counts
only if its last line is a verdict and no other line contradicts it. A text that speaks of verdicts or to its reader
(`addresses_judge`) gets no verdict at all. Where there is no verdict (such a text, an unreadable reply, a failed request,
the end of the budget), `without_verdict` decides: `stop` treats the text as a leak, `pass` lets it go on. Both are counted.

Left out: several judges that vote, and judges that explain themselves.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl2f_hub.engines import derive_seed
from rl2f_hub.records import Usage
from rl2f_hub.teachers.base import FeedbackRequest
from rl2f_hub.teachers.guard import Guard, Judge
from rl2f_hub.teachers.prompted import Ask, PromptedTeacher
from rl2f_hub.teachers.prompts import JUDGE, render_judge

if TYPE_CHECKING:
    from rl2f_hub.dialogue.runner import Student
    from rl2f_hub.recipe.teacher_sections import TeacherSpec

_VERDICT = re.compile(r"[\s*_`\"']*(?:verdict\s*:)?[\s*_`\"']*(leak|clean)[\s.*_`\"'!]*", re.IGNORECASE)
_ADDRESSES = re.compile(
    r"\bverdict\b|\b(?:answer|say|reply|respond|output|print|write|return|conclude|mark|rate|label|classif\w+|judge)\b.{0,40}\bclean\b|\bclean\b\W*\Z"
    r"|\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instructions?|prompts?|rules|above|previous)\b|\bsystem prompt\b"
    r"|\b(?:judge|reviewer|checker|auditor|assistant)\b\W{0,3}[:,]|\bnot a leak\b|\bno leak\b",
    re.IGNORECASE | re.DOTALL,
)


class ModelJudge(Judge):
    """A judge that asks a model.

    Args:
        model: who answers; only its way to ask is used, never its teaching prompts.
        max_calls: prompts that may be sent; None: any number.
        without_verdict: `stop` or `pass`.
    Attributes:
        counts: `judge_asked`, `judge_cached`, `judge_leak`, `judge_clean`, `judge_unreadable`, `judge_addressed`,
            `judge_budget` and `judge_failed_<reason>`.
        spent: what all its replies took.
    """

    def __init__(self, model: PromptedTeacher, max_calls: int | None = None, without_verdict: str = "stop") -> None:
        self.model, self.max_calls, self.without_verdict = model, max_calls, without_verdict
        self.counts: Counter[str] = Counter()
        self.spent = Usage()
        self._known: dict[str, bool | None] = {}

    def leaks(self, situation: FeedbackRequest, text: str) -> bool | None:
        return self.leaks_in_each([(situation, text)])[0]

    def leaks_in_each(self, cases: Sequence[tuple[FeedbackRequest, str]]) -> list[bool | None]:
        """A verdict for each text; with `without_verdict: pass` None where there is none."""
        prompts = [None if addresses_judge(text) else render_judge(situation, text) for situation, text in cases]
        self.counts["judge_addressed"] += prompts.count(None)
        fresh = [p for p in dict.fromkeys(prompts) if p is not None and _digest(p) not in self._known]
        room = len(fresh) if self.max_calls is None else max(0, self.max_calls - self.counts["judge_asked"])
        fresh, over = fresh[:room], set(fresh[room:])
        self.counts["judge_asked"] += len(fresh)
        self.counts["judge_budget"] += len(over)
        asks = [Ask(prompt, derive_seed("judge", 0, _digest(prompt)), False) for prompt in fresh]
        for prompt, answer in zip(fresh, self.model.ask(asks) if asks else [], strict=True):
            if isinstance(answer, str):
                self.counts[f"judge_failed_{answer}"] += 1
                if answer != "budget":  # a server that comes back is asked again
                    continue
                verdict = None
            else:
                self.spent += answer.usage
                verdict = read_verdict(answer.text)
                name = "unreadable" if verdict is None else "leak" if verdict else "clean"
                self.counts[f"judge_{name}"] += 1
            self._known[_digest(prompt)] = verdict
        self.counts["judge_cached"] += sum(p is not None for p in prompts) - len(fresh) - len(over)
        verdicts = [None if p is None else self._known.get(_digest(p)) for p in prompts]
        return [True if v is None and self.without_verdict == "stop" else v for v in verdicts]

    def record(self) -> dict[str, Any]:
        """For manifests: who judges, by which templates, and what it took."""
        return {
            "name": self.model.name,
            "templates": JUDGE.digests,
            "without_verdict": self.without_verdict,
            "counts": dict(sorted(self.counts.items())),
            "prompt_tokens": self.spent.prompt_tokens,
            "completion_tokens": self.spent.completion_tokens,
            "cost": self.spent.cost,
        }


def read_verdict(reply: str) -> bool | None:
    """True for LEAK, False for CLEAN; None unless the last line is a verdict that no other line contradicts."""
    lines = [line for line in reply.strip().splitlines() if line.strip()]
    said = [m[1].casefold() for line in lines if (m := _VERDICT.fullmatch(line))]
    if not said or not _VERDICT.fullmatch(lines[-1]) or len(set(said)) > 1:
        return None
    return said[-1] == "leak"


def addresses_judge(text: str) -> bool:
    """Whether a text seems to speak to whoever judges it, not to a student."""
    return bool(_ADDRESSES.search(text))


def build_guard(spec: TeacherSpec, student: Student | None = None, folder: Path | None = None) -> Guard:
    """The guard of a recipe's section `teacher`, with its judge; arguments and errors are those of `build_judge`."""
    judge = build_judge(spec, student, folder)
    return Guard(spec.guard.max_retries, check_code=spec.guard.check_code, judge=judge)


def build_judge(spec: TeacherSpec, student: Student | None = None, folder: Path | None = None) -> ModelJudge | None:
    """The judge of a recipe's section `teacher`; None where it names none.

    Args:
        student: whose base weights judge, for `judge: self`.
        folder: the stage's folder in a run, where an endpoint's bill is kept (and beside the run, its replies).
    Raises:
        UsageError: a judge that lacks its settings or its student.
    """
    guard = spec.guard
    if guard.judge == "none":
        return None
    from rl2f_hub.recipe.teacher_sections import TeacherSpec
    from rl2f_hub.teachers import build_teacher

    settings = TeacherSpec(
        kind=guard.judge,
        model=guard.judge_model or spec.model,
        endpoint=guard.judge_endpoint or spec.endpoint,
        max_tokens=guard.judge_tokens,
        temperature=0.0,
        batch=spec.batch,
    )
    model = build_teacher(settings, student, folder)
    assert isinstance(model, PromptedTeacher)
    if folder is not None:
        model.keep_bill_at(folder / "judge_bill.json")
    return ModelJudge(model, guard.judge_max_calls, guard.judge_without_verdict)


def _digest(prompt: str) -> str:
    return sha256(prompt.encode()).hexdigest()
