"""The endpoint engine: a student behind an OpenAI-style chat API, for evaluation only.

A server takes messages and gives text: no ids, no log-probabilities, no way to hold its cache open. The ledger of such
a dialogue counts characters instead: an id is a code point, and three numbers beyond Unicode mark whose turn begins and
where one ends. So the loop, its rules and the guard are the ones of every student, spans partition the ids, and what
was said is exactly in them; `Sampled.logprobs` is empty, and tokens are what the server counted (`Sampled.usage`).
Nothing can be trained on that: generation and training refuse an engine that `is_remote`.

Every turn sends the whole conversation. A request that does not fit into the model's window ends its dialogue with
`context_full`, one that fails after its retries with `student_error`; a refused key or an unknown model ends the
evaluation, so does a server that cannot be reached at all. Seeds are sent along; whether the server honours them is its
own affair, and so is what it makes of marks such as `<|im_end|>` within a text.

Left out: streaming (`on_token` hears the characters of an attempt when it is whole) and a reply's separate reasoning.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from rl2f_hub.endpoints.client import ChatClient, Send
from rl2f_hub.endpoints.completion import Failure
from rl2f_hub.engines import Engine, OnToken, Sampled, Sampling, derive_seed
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.recipe.teacher_sections import EndpointSpec
from rl2f_hub.records import StopReason, Usage

END, USER, ASSISTANT = 0x110000, 0x110001, 0x110002  # no character: the last one is 0x10FFFF
ROLES = {USER: "user", ASSISTANT: "assistant"}
UNKNOWN = 1 << 40  # characters: the window is the server's, and it says itself when it is full


class EndpointEngine(Engine):
    """Asks a server for attempts, many at once.

    Args:
        field: how errors name the endpoint's settings.
    Raises:
        UsageError: a key that is not set.
    """

    context_length = UNKNOWN
    cache_tokens = 4 * UNKNOWN
    is_remote = True

    def __init__(self, spec: EndpointSpec, field: str = "student") -> None:
        self.client = ChatClient(spec, field)

    def open(
        self, seeds: list[int], sampling: Sampling, stop_ids: frozenset[int], share: float = 1.0
    ) -> EndpointSession:
        return EndpointSession(self.client, seeds, sampling)


class EndpointSession:
    """Conversations, of which the server is told everything at every turn."""

    def __init__(self, client: ChatClient, seeds: list[int], sampling: Sampling) -> None:
        self.client, self.seeds, self.sampling = client, seeds, sampling
        self.history: dict[int, list[int]] = {}

    def restart(self, row: int) -> None:
        """See `engines.Session`."""
        self.history.pop(row, None)

    def generate(
        self,
        rows: list[int],
        new_ids: list[list[int]],
        turn: int | Sequence[int],
        on_token: OnToken | None = None,
    ) -> list[Sampled]:
        """See `engines.Session`.

        Raises:
            RL2FError: the server refuses the key or the model, or cannot be reached.
        """
        turns = [turn] * len(rows) if isinstance(turn, int) else list(turn)
        for row, new in zip(rows, new_ids, strict=True):
            self.history.setdefault(row, []).extend(new)
        requests = [self._request(row, number) for row, number in zip(rows, turns, strict=True)]
        replies = self.client.each(requests, partial(_asked, set()))
        failures = [reply for reply in replies if isinstance(reply, Failure)]
        for failure in failures:
            if failure.lasting:
                raise RL2FError(failure.lasting)
        spec = self.client.spec
        if len(failures) == len(rows) and {f.reason for f in failures} <= {"unreachable", "timeout", "not_json"}:
            where = spec.url or f"provider {spec.provider}"
            raise RL2FError(f"{self.client.field}: {where} does not answer ({failures[0].reason}); check the address")
        out = [_sampled(reply) for reply in replies]
        for row, attempt in zip(rows, out, strict=True):
            self.history[row] += attempt.ids
            if on_token is not None:
                for token in attempt.ids:
                    on_token(row, token)
        return out

    def _request(self, row: int, turn: int) -> dict[str, Any]:
        return {
            "messages": messages_of(self.history[row]),
            "model": self.client.spec.model,
            "max_tokens": self.sampling.turn_tokens,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "seed": derive_seed(self.seeds[row], turn) % 2**31,
        }


async def _asked(
    down: set[str], send: Send, gate: asyncio.Semaphore, request: dict[str, Any]
) -> dict[str, Any] | Failure:
    """The completion, or why there is none; while the server cannot be reached, the rest of a batch does not wait."""
    async with gate:
        if down:
            return Failure("unreachable")
        try:
            return await send(request)
        except Failure as failure:
            if failure.reason == "unreachable":
                down.add(failure.reason)
            return failure


def _sampled(reply: dict[str, Any] | Failure) -> Sampled:
    if isinstance(reply, Failure) or reply["finish_reason"] == "content_filter":
        full = isinstance(reply, Failure) and reply.reason == "context_full"
        return Sampled([], [], False, failure=StopReason.CONTEXT_FULL if full else StopReason.STUDENT_ERROR)
    whole = reply["finish_reason"] != "length"
    ids = [ord(character) for character in reply["text"]]
    usage = Usage(reply["prompt_tokens"], reply["completion_tokens"])
    return Sampled([*ids, END] if whole else ids, [], whole, usage)


def messages_of(ids: list[int]) -> list[dict[str, str]]:
    """The conversation in a character ledger as chat messages, without the turn that it waits for."""
    out: list[dict[str, str]] = []
    text: list[str] = []
    for token in ids:
        if token in ROLES:
            out.append({"role": ROLES[token], "content": ""})
        elif token == END:
            out[-1]["content"] = "".join(text)
            text = []
        else:
            text.append(chr(token))
    return out[:-1]


def parse_endpoint(text: str, key_env: str | None = None) -> EndpointSpec | None:
    """The endpoint that `https://host/v1#model` or `provider:name#model` names; None for anything else.

    Raises:
        UsageError: an address without a model, or one that is none.
    """
    named = text.startswith("provider:")
    if not named and not text.startswith(("http://", "https://")):
        return None
    address, _, model = text.partition("#")
    if not model:
        raise UsageError(f"student: {address!r} names no model; write {address.rstrip('/')}#<model>")
    place: dict[str, Any] = {"provider": address.removeprefix("provider:")} if named else {"url": address}
    try:
        return EndpointSpec(**place, model=model, key_env=key_env)
    except ValueError:
        raise UsageError(
            f"student: {address!r} is no address of a server; write https://host/v1#<model>, without a user, a query or spaces"
        ) from None
