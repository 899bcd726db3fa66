"""The guard: the only way feedback reaches a student.

It looks for the reference and the solution in the teacher's words, literally and normalised (case, spacing, thousands
separators, LaTeX wrapping). What the student itself already wrote, or what stands in the question, is not a leak. A
leaking reply is asked for again up to `max_retries` times, then the answer is redacted; everything is counted in
`Guard.counts`.

Left out: paraphrases, encodings and derivations of the answer, and parts of a solution.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rl2f_hub.records import Feedback
from rl2f_hub.teachers import Situation, Teacher

log = logging.getLogger(__name__)

REDACTED = "[redacted]"


def find_leaks(text: str, reference: str, known: Sequence[str]) -> tuple[str, ...]:
    """Forms (`literal`, `normalised`) in which `reference` stands in `text` but in none of the `known` texts."""
    forms = []
    pattern = _whole(reference.strip())
    if reference.strip() and pattern.search(text) and not any(pattern.search(k) for k in known):
        forms.append("literal")
    plain = _whole(_normalise(reference))
    if _normalise(reference) and plain.search(_normalise(text)) and not any(plain.search(_normalise(k)) for k in known):
        forms.append("normalised")
    return tuple(forms)


def _whole(reference: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_])(?<!\.){re.escape(reference)}(?![^\W_]|\.\d)", re.IGNORECASE)


def _normalise(text: str) -> str:
    text = re.sub(r"\\(?:boxed|text|mathrm)\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"(?<=\d)[,_ \u00a0\u202f](?=\d{3}(?!\d))", "", text)  # 1,234 -> 1234
    text = re.sub(r"(?<![\d.])0+(?=\d)", "", text)  # 0042 -> 42
    text = re.sub(r"(?<=\d)\.0+(?!\d)", "", text)  # 42.0 -> 42
    return re.sub(r"[\s$]+", " ", text).strip().casefold()


@dataclass
class Guard:
    """Checks replies, asks again, redacts. `counts` holds passed, leaked, retried, redacted and teacher_error."""

    max_retries: int = 2
    counts: Counter[str] = field(default_factory=Counter)

    def pass_on(self, teacher: Teacher, situations: Sequence[Situation]) -> list[Feedback | None]:
        """Guarded feedback in the order of `situations`; None where the teacher gave nothing."""
        out = self._ask(teacher, situations)
        for retry in range(1, self.max_retries + 1):
            again = [i for i, f in enumerate(out) if f is not None and f.leaked]
            if not again:
                break
            self.counts["retried"] += len(again)
            fresh = self._ask(teacher, [replace(situations[i], seed=situations[i].seed + retry) for i in again])
            for i, feedback in zip(again, fresh, strict=True):
                out[i] = feedback
        for i, feedback in enumerate(out):
            if feedback is None:
                self.counts["teacher_error"] += 1
            elif feedback.leaked:
                self.counts["redacted"] += 1
                out[i] = replace(feedback, text=self._redact(feedback.text, situations[i]))
            else:
                self.counts["passed"] += 1
        return out

    def _ask(self, teacher: Teacher, situations: Sequence[Situation]) -> list[Feedback | None]:
        if not situations:
            return []
        try:
            replies = teacher.feedback(situations)
        except Exception as error:  # a teacher that fails as a whole fails these dialogues, not the run
            log.warning("teacher %s failed: %s: %s", teacher.name, type(error).__name__, error)
            replies = []
        if len(replies) != len(situations):  # nobody knows which reply belongs to whom
            replies = [None] * len(situations)
        out: list[Feedback | None] = []
        for reply, situation in zip(replies, situations, strict=True):
            if reply is None or not reply.text.strip():
                out.append(None)
                continue
            leaks = _leaks_of(reply.text, situation)
            self.counts["leaked"] += bool(leaks)
            out.append(Feedback(reply.text, reply.kind, leaks))
        return out

    @staticmethod
    def _redact(text: str, situation: Situation) -> str:
        for secret in _secrets(situation):
            text = _whole(secret).sub(REDACTED, text)
        if _leaks_of(text, situation):
            return "Not yet. Check your work and try again."  # the answer stands there in a form we cannot cut out
        return text


def _secrets(situation: Situation) -> list[str]:
    """What must not be said, the longest first: a solution holds the reference."""
    return [s.strip() for s in (situation.privilege.solution, situation.privilege.reference) if s.strip()]


def _leaks_of(text: str, situation: Situation) -> tuple[str, ...]:
    known = (situation.question, *situation.attempts)
    return tuple(dict.fromkeys(form for secret in _secrets(situation) for form in find_leaks(text, secret, known)))
