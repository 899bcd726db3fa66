"""RL2FConfig: `GRPOConfig` and what a dialogue adds to it, checked when it is made.

What GRPOConfig offers means the same here, but for what draws or cuts attempts, since dialogues are sampled by the
engines of this package: such a setting is refused with the reason rather than left without effect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trl import GRPOConfig

from rl2f_hub.errors import UsageError
from rl2f_hub.kinds import CREDITS, find_part
from rl2f_hub.runtime.quiet import ignore_library_warnings

ignore_library_warnings()

# GRPOConfig's settings that only TRL's own generation reads, with their values there.
_TRL_GENERATION: dict[str, Any] = {
    "top_k": 0,
    "min_p": None,
    "repetition_penalty": 1.0,
    "generation_kwargs": None,
    "cache_implementation": None,
    "use_transformers_continuous_batching": False,
}


@dataclass
class RL2FConfig(GRPOConfig):
    """`GRPOConfig` and what a dialogue adds to it.

    Args:
        max_turns (`int`, defaults to `4`): attempts a dialogue may have; 1 is single-turn RL.
        turn_tokens (`int`, defaults to `256`): most tokens of one attempt.
        discount (`float`, defaults to `0.7`): the return of a dialogue solved at turn t is `discount ** (t - 1)`.
        credit (`str`, defaults to `"dialogue"`): `dialogue` gives all attempts of a dialogue its one advantage; `turn`
            gives each its own (see `credit.py`), divided as `scale_rewards` says; `python:<file>:<name>` is your own.
        critique_coef (`float`, defaults to `0.1`): weight of the cross-entropy on the teacher's words, which is taken at
            temperature 1 whatever the policy's is.
        thinking (`str`, *optional*): `keep` for a student whose chat template drops the thinking of earlier attempts: it
            stays in the context, so that every attempt is trained on what it was sampled from.
        on_cut (`str`, defaults to `"go_on"`): `stop` ends a dialogue at a wrong attempt that `turn_tokens` cut.
        first_turn_kl (`float`, defaults to `0.0`): weight of the KL to the starting policy on the first attempt only,
            so that later turns may change freely without turn 1 being forgotten. Needs an adapter.
        resample_rounds (`int`, defaults to `0`): how often a training step may play other tasks in place of groups
            whose dialogues all return the same. What stays equal after that is trained on as it is.
        cache_tokens (`int`, *optional*): most positions of the key-value cache that dialogues are sampled with; by default
            half of the memory that is free.
        overlap (`bool`, *optional*): generate for one half of the dialogues while the other half is judged and answered;
            by default where teachers or verdicts are waited for.

    `mask_truncated_completions` leaves the attempts that `turn_tokens` cut out of the policy's loss, and no others.
    """

    max_turns: int = field(default=4, metadata={"help": "Attempts a dialogue may have; 1 is single-turn RL."})
    turn_tokens: int = field(default=256, metadata={"help": "Most tokens of one attempt."})
    discount: float = field(default=0.7, metadata={"help": "Return of a dialogue solved at turn t: discount**(t-1)."})
    credit: str = field(default="dialogue", metadata={"help": "One advantage a dialogue, or one a turn."})
    thinking: str | None = field(default=None, metadata={"help": "keep: earlier attempts keep their thinking."})
    on_cut: str = field(default="go_on", metadata={"help": "After a wrong attempt that was cut: go_on or stop."})
    critique_coef: float = field(default=0.1, metadata={"help": "Weight of the cross-entropy on teacher words."})
    first_turn_kl: float = field(default=0.0, metadata={"help": "Weight of the KL to the start on the first attempt."})
    resample_rounds: int = field(default=0, metadata={"help": "Rounds of other tasks for groups of equal returns."})
    cache_tokens: int | None = field(default=None, metadata={"help": "Most positions of the dialogues' cache."})
    overlap: bool | None = field(default=None, metadata={"help": "Judge one half while the other half generates."})

    def __post_init__(self) -> None:
        try:
            super().__post_init__()
        except ValueError as error:
            said = " ".join(str(error).split())
            fix = "; change per_device_train_batch_size, gradient_accumulation_steps or num_generations so that it divides"
            raise UsageError(said.rstrip(".") + (fix if "divisible" in said else "")) from error
        self._check_ranges()
        self._check_choices()
        self._check_generation()
        if self.credit != "dialogue":
            self._check_turn_credit()

    def _check_ranges(self) -> None:
        for name, least in (("max_turns", 1), ("turn_tokens", 1), ("resample_rounds", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name}: {getattr(self, name)} must be at least {least}")
        if self.cache_tokens is not None and self.cache_tokens <= self.turn_tokens:
            raise UsageError(
                f"cache_tokens: {self.cache_tokens} must hold a dialogue, and one attempt may have {self.turn_tokens} "
                "(turn_tokens); raise it"
            )
        for name in ("critique_coef", "first_turn_kl"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{name}: {getattr(self, name)} must be 0 or more")
        if not 0 < self.discount <= 1:
            raise UsageError(f"discount: {self.discount} must lie in (0, 1]")
        if not self.temperature > 0:
            raise UsageError(f"temperature: {self.temperature} must be above 0: groups of equal attempts teach nothing")

    def _check_choices(self) -> None:
        if self.thinking not in (None, "keep"):
            raise UsageError(
                f"thinking: {self.thinking!r} is refused in training: attempts would not be trained on the context that "
                "they were sampled from; set 'keep'"
            )
        if self.on_cut not in ("go_on", "stop"):
            raise UsageError(f"on_cut: {self.on_cut!r} is unknown; choose go_on or stop")
        find_part(CREDITS, self.credit, "credit")

    def _check_generation(self) -> None:
        if self.use_vllm:
            raise UsageError(
                "use_vllm: true is not supported by RL2FTrainer: dialogues keep their cache over turns and their random "
                "numbers apart, which TRL's vLLM client has no call for; set it to false and give the trainer an `engine`"
            )
        for name, own in _TRL_GENERATION.items():
            if getattr(self, name) != own:
                raise UsageError(
                    f"{name}: {getattr(self, name)!r} has no effect in RL2FTrainer, whose engine draws by temperature and "
                    f"top_p; leave it at {own!r}"
                )
        if self.chat_template_kwargs:
            raise UsageError(
                f"chat_template_kwargs: {self.chat_template_kwargs!r} would not reach the dialogues, which are written "
                "piece by piece; set the tokenizer's chat_template instead"
            )

    def _check_turn_credit(self) -> None:
        """One advantage per turn goes into TRL's own loss as (B, T); TRL would combine rewards by dialogue."""
        if self.multi_objective_aggregation != "sum_then_normalize" or self.reward_weights is not None:
            raise UsageError(
                "credit: 'turn' has one reward, whose advantages are taken by turn; leave multi_objective_aggregation and "
                "reward_weights at their defaults"
            )
