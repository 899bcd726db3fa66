"""A teacher behind an API: any OpenAI-style server, or an inference provider of the Hub, through `huggingface_hub`.

Requests run side by side, at most `max_concurrency` at once, each within `timeout_s`; 408, 409, 425, 429, 5xx and lost
connections are tried again with growing pauses (or the pause that the server asks for). Every completion that was paid
for is kept in a folder, named by the SHA-256 of its whole request, so an interrupted stage does not pay twice. What a
stage has paid is kept beside its results; once it reaches the budget no further request is sent and the stage goes on to its end.

Whatever else comes back (a web page, nothing, half a reply, a refusal, a wrong key) costs one situation its feedback
and is counted. While a server cannot be reached, the rest of a batch does not wait for it.

Left out: streaming, tools, batch APIs; a prompt that is too long for the server's window (`max_prompt_chars` bounds
it by characters; the server's own refusal is counted as `http_400`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl2f_hub.endpoints.client import ChatClient, Send
from rl2f_hub.endpoints.completion import Failure, checked
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.recipe.teacher_sections import EndpointSpec, TeacherSpec
from rl2f_hub.records import Usage
from rl2f_hub.runs import write_atomic
from rl2f_hub.teachers.base import Teacher
from rl2f_hub.teachers.prompted import Answer, Ask, PromptedTeacher

if TYPE_CHECKING:
    from rl2f_hub.dialogue.runner import Student

log = logging.getLogger(__name__)
BILL = "teacher_bill.json"


class EndpointTeacher(PromptedTeacher):
    """A model that is asked over HTTP.

    Args:
        cache: folder of replies; None keeps none.
        bill: file with what has been paid so far; None counts from zero.
    Raises:
        UsageError: a key that is not set, a cache folder that cannot be written.
    """

    is_remote = True
    stopped: str = ""  # a reason of `counts`

    def __init__(self, spec: TeacherSpec, cache: Path | None = None, bill: Path | None = None) -> None:
        super().__init__(spec)
        assert spec.endpoint is not None
        self.endpoint: EndpointSpec = spec.endpoint
        self.name = f"endpoint:{self.endpoint.model}"
        self.client = ChatClient(self.endpoint, "teacher.endpoint")
        self.client.counts = self.counts  # one table of everything that happened
        self.cache, self.bill = cache, bill
        self.paid = _read_bill(bill)
        if cache is not None:
            try:
                cache.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"teacher.endpoint.cache: {cache}: {error.strerror}; name another folder") from None

    @classmethod
    def from_spec(cls, spec: TeacherSpec, student: Student | None, folder: Path | None) -> Teacher:
        """The teacher of a recipe with `kind: endpoint`: its bill goes to `folder`, replies to `teacher-cache` beside the run."""
        if spec.endpoint is None:
            raise UsageError("teacher.endpoint: missing; give {url: <server>/v1, model: <name>}")
        beside = folder.parent.parent / "teacher-cache" if folder else None
        cache = Path(spec.endpoint.cache) if spec.endpoint.cache else beside
        return cls(spec, cache, folder / BILL if folder else None)

    def keep_bill_at(self, path: Path) -> None:
        self.bill, self.paid = path, _read_bill(path)

    def _fits(self, text: str) -> bool:
        return len(text) <= self.endpoint.max_prompt_chars

    def ask(self, asks: list[Ask]) -> list[Answer | str]:
        down: set[str] = set()
        try:
            return self.client.each(asks, partial(self._one, down))
        finally:
            if self.bill is not None:
                paid = {"prompt_tokens": self.paid.prompt_tokens, "completion_tokens": self.paid.completion_tokens}
                write_atomic(self.bill, json.dumps(paid | {"cost": self.paid.cost}) + "\n")

    async def _one(self, down: set[str], send: Send, gate: asyncio.Semaphore, ask: Ask) -> Answer | str:
        request = self._request(ask)
        known = self._recall(request)
        if known is not None:
            self.counts["cached"] += 1
            return self._answer(known)
        async with gate:
            if self._over_budget():
                return "budget"
            if self.stopped or down:
                return self.stopped or "unreachable"
            try:
                reply = await send(request)
            except Failure as failure:
                if failure.reason == "unreachable":
                    down.add("unreachable")
                if failure.lasting:
                    self._stop(failure.reason, failure.lasting)
                return failure.reason
        answer = self._answer(reply)
        self.paid += answer.usage if isinstance(answer, Answer) else self._usage(reply)
        self._remember(request, reply)
        return answer

    def _request(self, ask: Ask) -> dict[str, Any]:
        return {
            "messages": [{"role": "user", "content": ask.text}],
            "model": self.endpoint.model,
            "max_tokens": self.spec.max_tokens,
            "temperature": self.spec.temperature,
            "seed": ask.seed % 2**31,
        }

    def _answer(self, reply: dict[str, Any]) -> Answer | str:
        if reply["finish_reason"] == "content_filter":
            return "refused"
        return Answer(reply["text"], reply["finish_reason"] != "length", self._usage(reply))

    def _usage(self, reply: dict[str, Any]) -> Usage:
        read, written = reply["prompt_tokens"], reply["completion_tokens"]
        return Usage(read, written, (read * self.endpoint.price_in + written * self.endpoint.price_out) / 1e6)

    # -- money ---------------------------------------------------------------------------------------------------

    def _over_budget(self) -> bool:
        spec = self.endpoint
        for name, used in (("max_tokens_total", self.paid.tokens), ("max_cost", self.paid.cost)):
            limit = getattr(spec, name)
            if limit is not None and used >= limit:
                kept = "; replies paid for come from the cache then" if self.cache else ""
                self._stop(
                    "budget",
                    f"teacher.endpoint.{name}: {limit} is used up ({used}), so no more feedback is asked for; raise it and run "
                    f"again with --overwrite{kept}",
                )
                return True
        return False

    def _stop(self, reason: str, message: str) -> None:
        if not self.stopped:
            self.stopped = reason
            self._told.add(reason)
            log.warning("%s", message)

    # -- the cache -----------------------------------------------------------------------------------------------

    def _file(self, request: dict[str, Any]) -> Path | None:
        if self.cache is None:
            return None
        whole = {"url": self.endpoint.url, "provider": self.endpoint.provider, **request}
        digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
        return self.cache / digest[:2] / f"{digest}.json"

    def _recall(self, request: dict[str, Any]) -> dict[str, Any] | None:
        file = self._file(request)
        if file is None or not file.is_file():
            return None
        try:
            return checked(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            self.counts["cache_unreadable"] += 1
            return None  # asked again, and written again

    def _remember(self, request: dict[str, Any], reply: dict[str, Any]) -> None:
        file = self._file(request)
        if file is None:
            return
        try:
            write_atomic(file, json.dumps(reply, ensure_ascii=False) + "\n")
        except RL2FError as error:  # the reply itself is good
            self._fail("cache_unwritable", f"reply not kept: {error}")

    def record(self) -> dict[str, Any]:
        return {
            **super().record(),
            "endpoint": self.endpoint.url or f"provider {self.endpoint.provider}",
            "paid": {"tokens": self.paid.tokens, "cost": self.paid.cost},
            "stopped": self.stopped,
        }


def _read_bill(file: Path | None) -> Usage:
    if file is None or not file.is_file():
        return Usage()
    try:
        row = json.loads(file.read_text(encoding="utf-8"))
        return Usage(int(row["prompt_tokens"]), int(row["completion_tokens"]), float(row["cost"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise RL2FError(f"{file}: not a teacher's bill; delete it to count from zero") from None
