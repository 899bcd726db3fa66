"""What all teachers that are models have in common: render a prompt, ask, read the reply, ask once more, give up.

Subclasses only `_ask`. A reply without usable feedback is asked for once more, with a prompt that says so and another
seed; after that the request gets None, and with it its dialogue a `teacher_error`, while the batch goes on. Every
failure is counted under its reason in `counts`, and each reason is logged once, in one line.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl2f_hub.engines import derive_seed
from rl2f_hub.recipe.teacher_sections import TeacherSpec
from rl2f_hub.records import Usage
from rl2f_hub.teachers.base import FeedbackRequest, Reply, Teacher
from rl2f_hub.teachers.prompts import NoPrompt, PromptSet
from rl2f_hub.teachers.reply import read_reply

log = logging.getLogger(__name__)
KIND = "free"  # of feedback in a model's own words


@dataclass(frozen=True, slots=True)
class Ask:
    """One prompt to answer. `seed` depends on the dialogue, its turn and the try alone."""

    text: str
    seed: int
    again: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's raw reply; `complete` says that it ended by itself."""

    text: str
    complete: bool
    usage: Usage


class PromptedTeacher(Teacher):
    """Feedback in a model's own words.

    Attributes:
        counts: `asked`, `asked_again` and the reasons for which there was no feedback.
        spent: what all replies took, those without usable feedback included.
    """

    def __init__(self, spec: TeacherSpec) -> None:
        self.spec = spec
        self.prompts = PromptSet(spec.prompt, spec.max_feedback_chars)
        self.counts: Counter[str] = Counter()
        self.templates: Counter[str] = Counter()
        self.spent = Usage()
        self._told: set[str] = set()

    def feedback(self, requests: Sequence[FeedbackRequest]) -> list[Reply | None]:
        out: list[Reply | None] = [None] * len(requests)
        used = [Usage()] * len(requests)
        places = list(range(len(requests)))
        for again in (False, True):
            asked: list[tuple[int, Ask]] = []
            for i in places:
                ask = self._prompt(requests[i], again)
                if ask is not None:
                    asked.append((i, ask))
            places = []
            self.counts["asked"] += len(asked)
            answers = self.ask([ask for _, ask in asked]) if asked else []
            for (i, ask), answer in zip(asked, answers, strict=True):
                if isinstance(answer, str):
                    self._fail(answer)
                    continue
                used[i] += answer.usage
                self.spent += answer.usage
                limit, question = self.spec.max_feedback_chars, requests[i].question
                text, reason = read_reply(answer.text, question, limit, answer.complete, ask.text)
                if text:
                    out[i] = Reply(text, KIND, used[i])
                elif again:
                    self._fail(reason)
                else:
                    self.counts["asked_again"] += 1
                    places.append(i)
        return out

    def _prompt(self, request: FeedbackRequest, again: bool) -> Ask | None:
        try:
            prompt = self.prompts.render(request, self.spec.privilege, self._fits, again)
        except NoPrompt as failure:
            self._fail(failure.reason, str(failure))
            return None
        self.templates[prompt.template] += 1
        seed = derive_seed("teacher", request.seed, len(request.attempts), again)
        return Ask(prompt.text, seed, again)

    def _fail(self, reason: str, message: str = "") -> None:
        self.counts[reason] += 1
        if reason not in self._told:
            self._told.add(reason)
            log.warning("teacher %s: no feedback: %s", self.name, message or MESSAGES.get(reason, reason))

    def _fits(self, text: str) -> bool:
        raise NotImplementedError

    def ask(self, asks: list[Ask]) -> list[Answer | str]:
        """An answer, or the reason why there is none, for each ask, in order."""
        raise NotImplementedError

    def keep_bill_at(self, path: Path) -> None:
        """Where what is paid is kept, for whoever has a bill."""

    def record(self) -> dict[str, Any]:
        """For the manifest: privilege, the templates that were used with their digests, counts and usage."""
        digests = self.prompts.digests
        return {
            "privilege": self.spec.privilege or "as the task",
            "prompts": {name: digests[name] for name in sorted(self.templates)},
            "counts": dict(sorted(self.counts.items())),
            "prompt_tokens": self.spent.prompt_tokens,
            "completion_tokens": self.spent.completion_tokens,
            "cost": self.spent.cost,
        }


MESSAGES = {
    "truncated": "the reply ran out of tokens before its feedback was closed; raise teacher.max_tokens",
    "no_feedback": "the reply has no closed <feedback> span; a stronger teacher or another teacher.prompt may help",
    "empty": "the reply is empty",
    "refused": "the model refused to answer",
    "other_language": "the feedback is in another language than the task",
    "unreachable": "the server cannot be reached; check teacher.endpoint.url and that it runs",
    "timeout": "the server did not answer in time; raise teacher.endpoint.timeout_s or lower max_concurrency",
    "not_json": "the server's answer is no JSON (a web page?); check teacher.endpoint.url, which ends with /v1",
    "not_a_completion": "the server's answer is JSON but no chat completion; check teacher.endpoint.url",
    "http_400": "the server refuses the request (400); check teacher.endpoint.model and max_prompt_chars",
    "context_full": "the prompt does not fit into the server's window; lower teacher.endpoint.max_prompt_chars",
    "http_429": "the server's rate limit is reached (429); lower teacher.endpoint.max_concurrency",
}
