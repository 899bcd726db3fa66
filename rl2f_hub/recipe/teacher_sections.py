"""The `teacher` section of a recipe: which one, and for a model where it is and at what price. Plain settings, no loading."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rl2f_hub.kinds import TEACHERS
from rl2f_hub.recipe.base import Positive, Share, Spec, kind_name

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
TeacherName = Annotated[str, kind_name(TEACHERS)]
PrivilegeName = Literal["answer", "solution", "tests", "verdict"]


class TeacherModelSpec(Spec):
    """Another model as the teacher: a Hub id or a path, a full model or an adapter."""

    id: str  # Hub id or path
    revision: str | None = None  # commit, branch or tag on the Hub
    quantization: Literal["none", "nf4"] = "none"  # of its weights
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the weights that are not quantised


class EndpointSpec(Spec):
    """A server that speaks the OpenAI chat API at `url` (up to and with `/v1`), or an inference provider of the Hub.

    `max_tokens_total` and `max_cost` bound what one stage of a run may use; replies in flight when a bound is reached
    still count, so it may be passed by `max_concurrency` replies. Prices are per million tokens, in any currency.

    The key is read from the environment variable `key_env`. Left out, it is HF_TOKEN for providers and for servers of
    Hugging Face, and none for any other URL: a token never goes to a host that the recipe did not name it for. (While
    a run uses the embedded Hub, HF_TOKEN is that Hub's; name another variable then.)
    """

    url: Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")] | None = None
    provider: str | None = None  # an inference provider of the Hub
    model: str  # the model's name at that server
    key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    max_concurrency: Positive = 8
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0  # seconds, of one request
    max_retries: Annotated[int, Field(ge=0, le=20)] = 4  # after 429, 5xx and lost connections
    max_prompt_chars: Positive = 24_000  # older turns are left out beyond it
    cache: str | None = None  # folder of replies; None: `teacher-cache` beside the run's folder
    max_tokens_total: Positive | None = None
    max_cost: Amount | None = None
    price_in: Amount = 0.0  # of a million tokens of the prompt
    price_out: Amount = 0.0  # of a million tokens of the reply

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
    raise_at: Annotated[float, Field(ge=0, le=1)] = 0.7  # success rate from which the level rises
    lower_at: Annotated[float, Field(ge=0, le=1)] = 0.2  # success rate below which it falls
    memory: Positive = 64  # dialogues that the success rate looks back on, and the fewest before a move

    @model_validator(mode="after")
    def _band(self) -> CurriculumSpec:
        if self.lower_at >= self.raise_at:
            raise ValueError(f"lower_at: {self.lower_at} must be below raise_at {self.raise_at}")
        return self


class GuardSpec(Spec):
    """What stands between a teacher's words and the student; see docs/guard.md."""

    max_retries: Annotated[int, Field(ge=0)] = 2  # how often a leaking reply is asked for again
    check_code: bool = False  # also run programs in feedback against the hidden tests, in the sandbox
    judge: Literal["none", "self", "model", "endpoint"] = "none"  # a model that reads what the detectors let through
    judge_model: TeacherModelSpec | None = None  # for `judge: model`; None: teacher.model
    judge_endpoint: EndpointSpec | None = None  # for `judge: endpoint`, with its own bounds; None: teacher.endpoint
    judge_tokens: Positive = 16  # of one verdict
    judge_max_calls: Positive | None = None  # prompts to the judge in one stage; None: any number
    judge_without_verdict: Literal["stop", "pass"] = "stop"  # text without a verdict: unreadable, failed, budget spent


class TeacherSpec(Spec):
    """Who answers wrong attempts.

    `self` is the student's own base weights, `model` another model, `endpoint` a server; what stands from `privilege`
    to `max_feedback_chars` is theirs alone. `privilege` is what such a teacher is shown beside the verdict; left out,
    it is what each task names as its own (the strongest thing that its source has: `tests`, else `solution`, else
    `answer`). `prompt` names a set of templates under `teachers/prompts/`, or a folder with a set of one's own.
    """

    kind: TeacherName = "scripted"  # docs/teachers.md says what each does
    strength: Literal["direction", "place", "full"] = "full"  # scripted: how much of what is wrong is said
    phrasings: Annotated[int, Field(ge=1, le=6)] = 1  # scripted: in how many ways
    rate: Share = 1.0  # misleading, leaked, careless: the share of replies that mislead or state the answer
    doubt_rate: Share = 0.0  # any teacher: the share of right answers that are doubted; holding on is rewarded
    curriculum: CurriculumSpec | None = None  # in training only
    privilege: PrivilegeName | None = None
    model: TeacherModelSpec | None = None
    endpoint: EndpointSpec | None = None
    max_tokens: Positive = 256  # of one reply, private reasoning included
    temperature: Annotated[float, Field(ge=0)] = 0.7  # of its replies
    prompt: str = "v1"
    batch: Positive = 16  # replies that a local model writes at once
    max_feedback_chars: Positive = 800  # longer feedback ends at the last sentence within it
    guard: GuardSpec = GuardSpec()

    @model_validator(mode="after")
    def _parts(self) -> TeacherSpec:
        if self.curriculum is not None and self.curriculum.hints:
            if self.kind in TEACHERS and not TEACHERS[self.kind].weaker_hints:
                raise ValueError(f"curriculum.hints: {self.kind} has no weaker hints; set it to false")
            if self.privilege is not None:
                raise ValueError(
                    "privilege: the curriculum's hints choose it; leave it out or set curriculum.hints: false"
                )
        guard = self.guard
        for kind, own, shared in (
            ("model", guard.judge_model, self.model),
            ("endpoint", guard.judge_endpoint, self.endpoint),
        ):
            if guard.judge == kind and own is None and shared is None:
                raise ValueError(f"guard.judge {kind} needs the section `guard.judge_{kind}` or `teacher.{kind}`")
        if (self.kind, self.model) == ("model", None) or (self.kind, self.endpoint) == ("endpoint", None):
            example = "{id: <Hub id or path>}" if self.kind == "model" else "{url: http://..., model: <name>}"
            raise ValueError(f"kind {self.kind} needs the section `{self.kind}`: {example}")
        return self

    @property
    def has_independent_attempts(self) -> bool:
        """Whether no dialogue has a history: every attempt is a first one."""
        return self.kind in TEACHERS and TEACHERS[self.kind].independent_attempts
