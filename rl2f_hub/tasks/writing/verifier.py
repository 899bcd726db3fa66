"""Verifier `writing`: one real sentence about its topic that meets every requirement of the task (`tasks/writing`).

The verdict's `reason` is public and never names a hidden requirement; what is not met stands in the `observation`, for
the teacher alone, as JSON: `objections` (sentences to be told), `unmet` ([kind, value] each) and `must` (in words).
"""

from __future__ import annotations

import json

from rl2f_hub.records import Task, Verdict
from rl2f_hub.tasks.writing import requirements_of
from rl2f_hub.tasks.writing.sentence import objections, unwrap
from rl2f_hub.verify.base import Verifier


def writing(task: Task, attempt: str) -> Verdict:
    """Right when nothing speaks against the sentence and all requirements are met; the score is the share of those met."""
    sentence = unwrap(attempt)
    wrong = list(objections(sentence, task.settings["thing"], task.prompt))
    wanted = requirements_of(task)
    unmet = [r for r in wanted if not r.is_met(sentence)]
    if not wrong and not unmet:
        return Verdict(True, 1.0, sentence, "a sentence that meets all that is asked for")
    shown = {"objections": wrong, "unmet": [r.to_json() for r in unmet], "must": [r.described() for r in unmet]}
    score = 0.0 if wrong else (len(wanted) - len(unmet)) / (len(wanted) + 1)
    reason = wrong[0] if wrong else "something that is asked for is not met"
    return Verdict(False, score, sentence, reason, json.dumps(shown))


def check_writing(task: Task) -> None:
    """Raises ValueError when the task's own reference does not meet what the task asks for."""
    if not (verdict := writing(task, task.privilege.reference)).correct:
        raise ValueError(f"reference {task.privilege.reference[:60]!r} does not meet the task: {verdict.observation}")


WRITING = Verifier(
    writing, check_writing, has_one_answer=lambda task: False, takes_all=True, needs_its_source=True
)  # `takes_all`: a sentence about a thing repeats words of the prompt
