"""What a recipe may say about a teacher that is a model: which one, where, and at what price. Plain settings, no loading."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rl2f_hub.spec import Positive, Spec

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PrivilegeName = Literal["answer", "solution", "tests", "verdict"]


class TeacherModelSpec(Spec):
    """Another model as the teacher: a Hub id or a path, a full model or an adapter."""

    id: str
    revision: str | None = None
    quantization: Literal["none", "nf4"] = "none"
    dtype: Literal["float32", "bfloat16"] = "float32"


class EndpointSpec(Spec):
    """A server that speaks the OpenAI chat API at `url` (up to and with `/v1`), or an inference provider of the Hub.

    `max_tokens_total` and `max_cost` bound what one stage of a run may use; replies in flight when a bound is reached
    still count, so it may be passed by `max_concurrency` replies. Prices are per million tokens, in any currency.

    The key is read from the environment variable `key_env`. Left out, it is HF_TOKEN for providers and for servers of
    Hugging Face, and none for any other URL: a token never goes to a host that the recipe did not name it for. (While
    a run uses the embedded Hub, HF_TOKEN is that Hub's; name another variable then.)
    """

    url: Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")] | None = None
    provider: str | None = None
    model: str
    key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    max_concurrency: Positive = 8
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    max_retries: Annotated[int, Field(ge=0, le=20)] = 4
    max_prompt_chars: Positive = 24_000
    cache: str | None = None  # folder of replies; None: `teacher-cache` beside the run's folder
    max_tokens_total: Positive | None = None
    max_cost: Amount | None = None
    price_in: Amount = 0.0
    price_out: Amount = 0.0

    @model_validator(mode="after")
    def _one_place(self) -> EndpointSpec:
        if (self.url is None) == (self.provider is None):
            raise ValueError("give either `url` (an OpenAI-style server) or `provider` (of the Hub), not both")
        if self.max_cost is not None and self.price_in == self.price_out == 0:
            raise ValueError("`max_cost` needs `price_in` and `price_out` (per million tokens): without, nothing costs")
        return self


class CurriculumSpec(Spec):
    """Harder tasks and weaker hints as the student gets better, per source; see `curriculum.py`."""

    hints: bool = True  # the scripted teacher says less at higher levels
    raise_at: Annotated[float, Field(ge=0, le=1)] = 0.7
    lower_at: Annotated[float, Field(ge=0, le=1)] = 0.2
    memory: Positive = 64  # dialogues that the success rate looks back on, and the fewest before a move

    @model_validator(mode="after")
    def _band(self) -> CurriculumSpec:
        if self.lower_at >= self.raise_at:
            raise ValueError(f"lower_at: {self.lower_at} must be below raise_at {self.raise_at}")
        return self
