"""What a chat endpoint sends back, as a plain completion or as a typed failure.

Replies are untrusted: `reduced` keeps four fields of a completion and checks their types, `failure_of` gives whatever
the client raised a name, says whether another try may help, and whether it concerns every further request too.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlparse

from rl2f_hub.recipe.teacher_sections import EndpointSpec

# How OpenAI, vLLM, llama.cpp and text-generation-inference begin to say it.
TOO_LONG = (
    "context_length_exceeded",
    "maximum context length",
    "exceeds the available context",
    "max_new_tokens` must be",
)


MAX_CHARS = 200_000  # of one reply: what is longer was cut by nobody, and would fill the memory
MAX_TOKENS = 2**40  # that a server may say it used: prices are multiplied with it
PASSING = (408, 409, 425, 429)  # too slow, locked by another request, too early, too many: another try may help


class Failure(Exception):
    """Why a request gave no completion; `again` says that another try may help, `after` when the server wants it (s)."""

    def __init__(self, reason: str, again: bool = False, after: float | None = None, lasting: str = "") -> None:
        super().__init__(reason)
        self.reason, self.again, self.after, self.lasting = reason, again, after, lasting


def reduced(output: Any) -> dict[str, Any]:
    """What is kept of a completion; raises `Failure` when it is none."""
    try:
        choice = output.choices[0]
        text = choice.message.content
        finish = choice.finish_reason
    except (AttributeError, IndexError, KeyError, TypeError):
        raise Failure("not_a_completion") from None
    usage = getattr(output, "usage", None)
    read, written = getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
    if isinstance(text, str):  # JSON can write halves of characters, which no file can hold
        text, whole = text[:MAX_CHARS].encode("utf-8", "replace").decode(), text
        finish = finish if len(whole) <= MAX_CHARS else "length"
    reply = {
        "text": "" if text is None else text,
        "finish_reason": finish or "stop",
        "prompt_tokens": read or 0,
        "completion_tokens": written or 0,
    }
    try:
        return checked(reply)
    except ValueError:
        raise Failure("not_a_completion") from None


def checked(reply: Any) -> dict[str, Any]:
    """A reply with the right fields and types; raises ValueError on anything else."""
    kinds = {"text": str, "finish_reason": str, "prompt_tokens": int, "completion_tokens": int}
    if not isinstance(reply, dict) or set(reply) != set(kinds):
        raise ValueError("not a reply")
    for name, kind in kinds.items():
        if not isinstance(reply[name], kind) or (kind is int and not 0 <= reply[name] <= MAX_TOKENS):
            raise ValueError(f"{name} is no {kind.__name__}")
    return reply


def failure_of(error: Exception, spec: EndpointSpec, field: str = "teacher.endpoint") -> Failure:
    """What went wrong with a request, from whatever the client raised; `field` is what the settings are called."""
    from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError

    if isinstance(error, TimeoutError | InferenceTimeoutError):
        return Failure("timeout", again=True)
    where = spec.url or f"provider {spec.provider}"
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code if error.response is not None else 0
        if status in PASSING or status >= 500:
            headers = error.response.headers if error.response is not None else {}
            return Failure(f"http_{status}", again=True, after=_seconds(headers.get("Retry-After")))
        if status in (401, 403):
            fix = f"check the key in {key_name(spec) or f'{field}.key_env'}"
            return Failure(f"http_{status}", lasting=f"{field}: {where} refuses the key ({status}); {fix}")
        if status == 404:
            fix = f"check {field}.url and model"
            return Failure("http_404", lasting=f"{field}: {where} does not know {spec.model!r} (404); {fix}")
        if status in (400, 413, 422) and _too_long(error):
            return Failure("context_full")
        return Failure(f"http_{status}")
    if type(error).__module__.startswith(("httpx", "httpcore")) or isinstance(error, OSError):
        return Failure("unreachable", again=True)
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return Failure("not_json")  # a web page, or nothing
    if isinstance(error, ValueError):  # the client refuses before it sends: an unknown provider, for example
        reason = " ".join(str(error).split())[:200]
        return Failure("misconfigured", lasting=f"{field}: {reason}")
    return Failure("not_a_completion")


def _too_long(error: Any) -> bool:
    """Whether a server refuses a request because it does not fit into the model's window. Servers say so in words."""
    text = str(error).lower() + str(getattr(error, "server_message", "") or "").lower()
    return any(words in text for words in TOO_LONG)


def _seconds(retry_after: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds a number or a date."""
    if not retry_after:
        return None
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def key_name(spec: EndpointSpec) -> str | None:
    """The environment variable that holds the key, or None where no key is sent."""
    if spec.key_env is not None:
        return spec.key_env
    host = urlparse(spec.url or "").hostname or ""
    ours = spec.provider is not None or host.endswith((".huggingface.co", ".huggingface.cloud"))
    return "HF_TOKEN" if ours else None
