"""Asking a chat endpoint: one request, tried again where that may help, and many side by side.

For teachers and for students that are played over HTTP. What comes back is a plain completion (`completion.py`) or a
typed failure; keys come from the environment and go to no host that they were not named for.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from rl2f_hub.endpoints.completion import Failure, failure_of, key_name, reduced
from rl2f_hub.errors import UsageError
from rl2f_hub.recipe.teacher_sections import EndpointSpec

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0
T = TypeVar("T")
Ask = TypeVar("Ask")
Send = Callable[[dict[str, Any]], Coroutine[Any, Any, dict[str, Any]]]


class ChatClient:
    """A server that speaks the OpenAI chat API, or an inference provider of the Hub.

    Args:
        field: how errors name the settings, as a recipe would.
    Attributes:
        counts: `retries`, and `usage_estimated`: replies whose tokens the server did not count.
    Raises:
        UsageError: a key that is not set.
    """

    def __init__(self, spec: EndpointSpec, field: str) -> None:
        self.spec, self.field = spec, field
        self.counts: Counter[str] = Counter()
        self.key = _key(spec, field)

    def each(
        self, asks: Iterable[Ask], one: Callable[[Send, asyncio.Semaphore, Ask], Coroutine[Any, Any, T]]
    ) -> list[T]:
        """What `one(send, gate, ask)` gives for each ask, all under way at once; `gate` is theirs to bound requests.

        `send(request)` gives `{text, finish_reason, prompt_tokens, completion_tokens}` or raises `Failure`.
        """

        async def together() -> list[T]:
            from huggingface_hub import AsyncInferenceClient

            spec = self.spec
            where: dict[str, Any] = (
                {"base_url": spec.url} if spec.url else {"provider": spec.provider, "model": spec.model}
            )
            gate = asyncio.Semaphore(spec.max_concurrency)
            async with AsyncInferenceClient(**where, api_key=self.key, timeout=spec.timeout_s) as client:

                async def send(request: dict[str, Any]) -> dict[str, Any]:
                    return await self._send(client, request)

                return list(await asyncio.gather(*(one(send, gate, ask) for ask in asks)))

        return _run(together())

    async def _send(self, client: Any, request: dict[str, Any]) -> dict[str, Any]:
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
                return self._counted(request, reduced(await asyncio.wait_for(call, self.spec.timeout_s)))
            except Failure:
                raise
            except Exception as error:
                raise failure_of(error, self.spec, self.field) from None

        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.spec.max_retries + 1),
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
        read = sum(len(message["content"]) for message in request["messages"]) // 4 + 1
        return {**reply, "prompt_tokens": read, "completion_tokens": len(reply["text"]) // 4 + 1}


def _key(spec: EndpointSpec, field: str) -> str | None:
    """The key, never shown; a placeholder for servers that get none, because the client would send a saved login."""
    name = key_name(spec)
    if name is None:
        return "no-key"
    value = os.environ.get(name)
    if not value and spec.key_env is not None:
        raise UsageError(f"{field}.key_env: the environment variable {name} is not set; export the key there")
    return value or None


def _run(work: Coroutine[Any, Any, list[T]]) -> list[T]:
    """`asyncio.run`, also where a loop is running already (notebooks, the demo): there in a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
