"""A teacher behind an API: any OpenAI-style server, or an inference provider of the Hub, through `huggingface_hub`.

Requests run side by side, at most `max_concurrency` at once, each within `timeout_s`; 429, 5xx and lost connections are
tried again with growing pauses (or the pause that the server asks for). Every completion that was paid for is kept in
a folder, named by the SHA-256 of its whole request, so an interrupted stage does not pay twice. What a stage has paid
is kept beside its results; once it reaches the budget no further request is sent and the stage goes on to its end.

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
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.records import Usage
from rl2f_hub.runs import write_atomic
from rl2f_hub.teachers.completion import Failure, checked, failure_of, key_name, reduced
from rl2f_hub.teachers.prompted import Answer, Ask, PromptedTeacher
from rl2f_hub.teachers.spec import EndpointSpec, TeacherSpec

log = logging.getLogger(__name__)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0
BILL = "teacher_bill.json"


class EndpointTeacher(PromptedTeacher):
    """A model that is asked over HTTP.

    Args:
        cache: folder of replies; None keeps none.
        bill: file with what has been paid so far; None counts from zero.
    Raises:
        UsageError: a key that is not set, a cache folder that cannot be written.
    """

    def __init__(self, spec: TeacherSpec, cache: Path | None = None, bill: Path | None = None) -> None:
        super().__init__(spec)
        assert spec.endpoint is not None
        self.endpoint: EndpointSpec = spec.endpoint
        self.name = f"endpoint:{self.endpoint.model}"
        self.key = _key(self.endpoint)
        self.cache, self.bill = cache, bill
        self.paid = _read_bill(bill)
        self.stopped = ""  # why no further request is sent: a reason of `counts`
        if cache is not None:
            try:
                cache.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"teacher.endpoint.cache: {cache}: {error.strerror}; name another folder") from None

    def _fits(self, text: str) -> bool:
        return len(text) <= self.endpoint.max_prompt_chars

    def _ask(self, asks: list[Ask]) -> list[Answer | str]:
        try:
            return _run(self._ask_all(asks))
        finally:
            if self.bill is not None:
                paid = {"prompt_tokens": self.paid.prompt_tokens, "completion_tokens": self.paid.completion_tokens}
                write_atomic(self.bill, json.dumps(paid | {"cost": self.paid.cost}) + "\n")

    async def _ask_all(self, asks: list[Ask]) -> list[Answer | str]:
        from huggingface_hub import AsyncInferenceClient

        spec = self.endpoint
        where: dict[str, Any] = {"base_url": spec.url} if spec.url else {"provider": spec.provider, "model": spec.model}
        gate = asyncio.Semaphore(spec.max_concurrency)
        down: set[str] = set()
        async with AsyncInferenceClient(**where, api_key=self.key, timeout=spec.timeout_s) as client:
            return list(await asyncio.gather(*(self._one(client, gate, down, ask) for ask in asks)))

    async def _one(self, client: Any, gate: asyncio.Semaphore, down: set[str], ask: Ask) -> Answer | str:
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
                reply = await self._send(client, request)
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

    async def _send(self, client: Any, request: dict[str, Any]) -> dict[str, Any]:
        """The completion as `{text, finish_reason, prompt_tokens, completion_tokens}`; raises `Failure`."""
        from tenacity import (
            AsyncRetrying,
            RetryCallState,
            retry_if_exception,
            stop_after_attempt,
            wait_random_exponential,
        )

        backoff = wait_random_exponential(multiplier=FIRST_PAUSE_S, max=LONGEST_PAUSE_S)

        def pause(state: RetryCallState) -> float:
            failure = state.outcome.exception() if state.outcome else None
            after = failure.after if isinstance(failure, Failure) else None
            return min(after, LONGEST_PAUSE_S) if after is not None else float(backoff(state))

        async def once() -> dict[str, Any]:
            try:
                call = client.chat_completion(**request)
                return self._counted(request, reduced(await asyncio.wait_for(call, self.endpoint.timeout_s)))
            except Failure:
                raise
            except Exception as error:
                raise failure_of(error, self.endpoint) from None

        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.endpoint.max_retries + 1),
            retry=retry_if_exception(lambda error: isinstance(error, Failure) and error.again),
            wait=pause,
            before_sleep=lambda state: self.counts.update(retries=1),
            reraise=True,
        )
        return await retrying(once)

    def _counted(self, request: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
        """The reply with tokens estimated (four characters each) where the server does not count, so budgets hold."""
        if reply["prompt_tokens"] + reply["completion_tokens"] > 0:
            return reply
        self.counts["usage_estimated"] += 1
        read = len(request["messages"][0]["content"]) // 4 + 1
        return {**reply, "prompt_tokens": read, "completion_tokens": len(reply["text"]) // 4 + 1}

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


def _key(spec: EndpointSpec) -> str | None:
    """The key, never shown; a placeholder for servers that get none, because the client would send a saved login."""
    name = key_name(spec)
    if name is None:
        return "no-key"
    value = os.environ.get(name)
    if not value and spec.key_env is not None:
        raise UsageError(f"teacher.endpoint.key_env: the environment variable {name} is not set; export the key there")
    return value or None


def _read_bill(file: Path | None) -> Usage:
    if file is None or not file.is_file():
        return Usage()
    try:
        row = json.loads(file.read_text())
        return Usage(int(row["prompt_tokens"]), int(row["completion_tokens"]), float(row["cost"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise RL2FError(f"{file}: not a teacher's bill; delete it to count from zero") from None


def _run(work: Coroutine[Any, Any, list[Answer | str]]) -> list[Answer | str]:
    """`asyncio.run`, also where a loop is running already (notebooks, the demo): there in a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def open_endpoint_teacher(spec: TeacherSpec, folder: Path | None) -> EndpointTeacher:
    """The teacher of a recipe with `kind: endpoint`.

    Args:
        folder: the stage's folder in a run: the bill goes there, replies into `teacher-cache` beside the run.
    """
    if spec.endpoint is None:
        raise UsageError("teacher.endpoint: missing; give {url: <server>/v1, model: <name>}")
    cache = (
        Path(spec.endpoint.cache) if spec.endpoint.cache else folder.parent.parent / "teacher-cache" if folder else None
    )
    return EndpointTeacher(spec, cache, folder / BILL if folder else None)
