"""RL2FTrainer: TRL's GRPOTrainer over whole didactic dialogues.

Added to GRPO, and nothing else: rollouts are dialogues with a teacher (TRL's `rollout_func` seam), teacher and
template tokens are masked by span, the reward is the discounted return of the dialogue, and two loss terms from the
same forward pass may join: the critique term and a KL that protects the first attempt. With `max_turns=1`,
`critique_coef=0` and `first_turn_kl=0` the trainer is single-turn GRPO.

Left out: credit per turn, vLLM rollouts, multimodal models.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from rl2f_hub.chat import ChatFormat, Thinking
from rl2f_hub.context import OnCut, Rules
from rl2f_hub.credit import dialogue_returns
from rl2f_hub.critique import critique_loss
from rl2f_hub.curriculum import Curriculum
from rl2f_hub.dialogue import Rollout, Student, run_dialogues
from rl2f_hub.engines import Sampling, derive_seed
from rl2f_hub.engines.transformers import TransformersEngine
from rl2f_hub.errors import UsageError
from rl2f_hub.records import Task
from rl2f_hub.teachers import Teacher
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.teachers.scripted import ScriptedTeacher

STATE_FILE = "rl2f_state.json"  # what a checkpoint adds: counters that a resumed run goes on with
REFERENCE = "ref"  # TRL's own name for the frozen copy of the adapter that training starts from


@dataclass
class RL2FConfig(GRPOConfig):
    """`GRPOConfig` and what a dialogue adds to it.

    Args:
        max_turns (`int`, defaults to `4`): attempts a dialogue may have; 1 is single-turn RL.
        turn_tokens (`int`, defaults to `256`): most tokens of one attempt.
        discount (`float`, defaults to `0.7`): the return of a dialogue solved at turn t is `discount ** (t - 1)`.
        critique_coef (`float`, defaults to `0.1`): weight of the cross-entropy on the teacher's words.
        thinking (`str`, *optional*): `keep` for a student whose chat template drops the thinking of earlier attempts: it
            stays in the context, so that every attempt is trained on what it was sampled from.
        on_cut (`str`, defaults to `"go_on"`): `stop` ends a dialogue at a wrong attempt that `turn_tokens` cut.
        first_turn_kl (`float`, defaults to `0.0`): weight of the KL to the starting policy on the first attempt only,
            so that later turns may change freely without turn 1 being forgotten. Needs an adapter.
    """

    max_turns: int = field(default=4, metadata={"help": "Attempts a dialogue may have; 1 is single-turn RL."})
    turn_tokens: int = field(default=256, metadata={"help": "Most tokens of one attempt."})
    discount: float = field(default=0.7, metadata={"help": "Return of a dialogue solved at turn t: discount**(t-1)."})
    thinking: str | None = field(default=None, metadata={"help": "keep: earlier attempts keep their thinking."})
    on_cut: str = field(default="go_on", metadata={"help": "After a wrong attempt that was cut: go_on or stop."})
    critique_coef: float = field(default=0.1, metadata={"help": "Weight of the cross-entropy on teacher words."})
    first_turn_kl: float = field(default=0.0, metadata={"help": "Weight of the KL to the start on the first attempt."})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("max_turns", "turn_tokens"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}: {getattr(self, name)} must be at least 1")
        if not 0 < self.discount <= 1:
            raise UsageError(f"discount: {self.discount} must lie in (0, 1]")
        if self.thinking not in (None, "keep"):
            raise UsageError(
                f"thinking: {self.thinking!r} is refused in training: attempts would not be trained on the context that "
                "they were sampled from; set 'keep'"
            )
        if self.on_cut not in ("go_on", "stop"):
            raise UsageError(f"on_cut: {self.on_cut!r} is unknown; choose go_on or stop")
        if self.critique_coef > 0 and self.temperature != 1.0:
            raise UsageError(
                f"temperature: {self.temperature} with critique_coef {self.critique_coef}: the critique term shares the "
                "policy's log-probabilities, which are at the sampling temperature; set temperature to 1 or "
                "critique_coef to 0"
            )
        if self.use_vllm:
            raise UsageError("use_vllm: true is not supported by RL2FTrainer; set it to false")


class RL2FTrainer(GRPOTrainer):
    """Trains a student on didactic dialogues.

    Args:
        model: a Hub id, a path, a `transformers` model or a PEFT model whose adapter goes on training.
        args: an `RL2FConfig`.
        train_dataset: rows of a published `tasks` config (see `records.Task.to_row`).
        teacher: who answers wrong attempts, or a function that makes such a teacher from the student (which may be its
            own teacher); the scripted teacher by default.
        guard: what checks the teacher's words; a fresh `Guard` by default.
        curriculum: moves tasks and hints with the student's success (give the teacher the same object).
        peft_config, quantization_config, processing_class, callbacks: as in `GRPOTrainer`.
    """

    _tag_names = ["trl", "grpo", "rl2f"]
    _name = "RL2F"
    args: RL2FConfig
    model: Any

    def __init__(
        self,
        model: Any,
        args: RL2FConfig,
        train_dataset: Dataset,
        teacher: Teacher | Callable[[Student], Teacher] | None = None,
        guard: Guard | None = None,
        curriculum: Curriculum | None = None,
        **kwargs: Any,
    ) -> None:
        tasks = [Task.from_row(row) for row in train_dataset]
        self.tasks: dict[str, Task] = {}
        for task in tasks:
            if self.tasks.setdefault(task.task_id, task) != task:
                raise UsageError(f"train_dataset: two different tasks have the id {task.task_id!r}; give each its own")
        # Only the id travels with the prompt: the privilege stays with the trainer, out of every student context.
        prompts = [[{"role": "user", "content": t.prompt, "task_id": t.task_id}] for t in tasks]
        self.guard = guard or Guard()
        self.curriculum = curriculum
        self.student_tokens = 0  # sampled in training so far, and the attempts they make up
        self.attempts = 0
        self._logps: torch.Tensor | None = None
        super().__init__(
            model=model,
            reward_funcs=[self.discounted_return],
            args=args,
            train_dataset=Dataset.from_dict({"prompt": prompts}),
            rollout_func=self._rollout,
            **kwargs,
        )
        self.chat = ChatFormat(self._tokenizer, cast(Thinking | None, args.thinking))
        made = teacher if teacher is None or hasattr(teacher, "feedback") else teacher(self._student())
        self.teacher = cast(Teacher, made or ScriptedTeacher())
        if getattr(self.teacher, "resamples", False) and args.max_turns > 1:
            raise UsageError("teacher: 'none' has no dialogue to train on; use it in evaluation, or set max_turns to 1")
        self._check_lengths()
        if args.first_turn_kl > 0:
            self._keep_reference()

    def _check_lengths(self) -> None:
        """A dialogue without a single attempt has nothing to train on."""
        engine = TransformersEngine(self.accelerator.unwrap_model(self.model), self._tokenizer.pad_token_id)
        room = engine.context_length - self.args.turn_tokens
        for task in self.tasks.values():
            length = len(self.chat.open(task.prompt).ids)
            if length > room:
                raise UsageError(
                    f"train_dataset: task {task.task_id!r} has {length} tokens, and an attempt of "
                    f"{self.args.turn_tokens} must fit into {engine.context_length} with it; leave it out or lower "
                    "turn_tokens"
                )

    def _student(self) -> Student:
        model = self.accelerator.unwrap_model(self.model)
        return Student(TransformersEngine(model, self._tokenizer.pad_token_id), self.chat, "policy")

    # -- rollouts ------------------------------------------------------------------------------------------------

    def _rollout(self, prompts: list[Any], trainer: GRPOTrainer) -> dict[str, Any]:
        """One dialogue for each prompt given, in order (TRL has repeated them `num_generations` times already)."""
        args = self.args
        student = self._student()
        mode = "train" if self.model.training else "eval"
        rank = self.accelerator.process_index
        seeds = [derive_seed(args.seed, mode, self.state.global_step, self._step, rank, i) for i in range(len(prompts))]
        tasks = [self.tasks[p[0]["task_id"]] for p in prompts]
        if self.curriculum is not None and mode == "train":
            tasks = [self.curriculum.swap(task, self._step) for task in tasks]
        rollouts = run_dialogues(
            tasks,
            student,
            self.teacher,
            guard=self.guard,
            max_turns=args.max_turns,
            sampling=Sampling(temperature=args.temperature, top_p=args.top_p, turn_tokens=args.turn_tokens),
            seed=args.seed,
            seeds=seeds,
            wave=len(prompts),
            rules=Rules(on_cut=cast(OnCut, args.on_cut)),
        )
        self._log_rollouts(rollouts, mode)
        cut = [r.ledger.prompt_length for r in rollouts]
        return {
            "prompt_ids": [r.ledger.ids[:c] for r, c in zip(rollouts, cut, strict=True)],
            "completion_ids": [r.ledger.ids[c:] for r, c in zip(rollouts, cut, strict=True)],
            "logprobs": None,
            "env_mask": [r.ledger.mask("student")[c:] for r, c in zip(rollouts, cut, strict=True)],
            "teacher_mask": [r.ledger.mask("teacher")[c:] for r, c in zip(rollouts, cut, strict=True)],
            "first_attempt": [sum(r.ledger.mask("student", 1)) for r in rollouts],
            "solved_at": [_solved_at(r) for r in rollouts],
        }

    def _log_rollouts(self, rollouts: list[Rollout], mode: str) -> None:
        metrics = self._metrics[mode]
        solved = [_solved_at(r) for r in rollouts]
        for turn in range(1, self.args.max_turns + 1):
            metrics[f"accuracy/turn_{turn}"].append(sum(0 < s <= turn for s in solved) / len(solved))
        metrics["dialogue/turns"].append(sum(len(r.turns) for r in rollouts) / len(rollouts))
        if mode == "train":
            self.student_tokens += sum(len(r.ledger.logprobs) for r in rollouts)
            self.attempts += sum(len(r.turns) for r in rollouts)
        metrics["dialogue/student_tokens"] = [float(self.student_tokens)]
        if self.curriculum is not None and mode == "train":
            mine = [(r.task.source, s > 0) for r, s in zip(rollouts, solved, strict=True)]
            self.curriculum.update(gather_object(mine))  # every process moves by the results of all
            for name, value in self.curriculum.metrics().items():
                metrics[name].append(value)

    def discounted_return(self, completions: list[Any], solved_at: list[int], **_: Any) -> list[float | None]:
        """The reward TRL sees: one discounted return a dialogue."""
        return [*dialogue_returns(solved_at, self.args.discount)]

    # -- loss ----------------------------------------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        out = super()._generate_and_score_completions(inputs)
        width = out["completion_ids"].size(1)
        device = out["completion_ids"].device

        def padded(rows: list[list[int]]) -> torch.Tensor:
            return torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)

        # TRL merges what the rollout returned into `inputs`, row by row.
        out["teacher_mask"] = padded([row["teacher_mask"] for row in inputs])
        if self.args.first_turn_kl > 0:
            out["first_mask"] = padded([[1] * row["first_attempt"] for row in inputs])
            out["first_ref"] = self._reference_logps(out)
        return self._without_idle_rows(out)

    def _without_idle_rows(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Leave out dialogues with advantage 0 where they add nothing to the loss but its time.

        That holds when the policy term is the only one and is normalised by the whole batch's tokens (`dapo`), which
        were counted before. In single-turn RL on hard tasks nine rows in ten go.
        """
        args = self.args
        alone = args.beta == args.critique_coef == args.first_turn_kl == args.entropy_coef == 0
        split = args.steps_per_generation != 1 or self.accelerator.num_processes != 1
        if not alone or split or args.use_adaptive_entropy or args.loss_type != "dapo" or not self.model.training:
            return batch
        keep = batch["advantages"] != 0
        if not keep.any():
            keep[0] = True  # the loss needs a row
        rows = len(keep)
        return {k: v[keep] if torch.is_tensor(v) and v.dim() and len(v) == rows else v for k, v in batch.items()}

    def _keep_reference(self) -> None:
        """Freeze a copy of the starting adapter as `ref` (TRL makes one itself when `beta` is not 0)."""
        model = self.accelerator.unwrap_model(self.model)
        if not hasattr(model, "peft_config"):
            raise UsageError(
                "first_turn_kl: needs an adapter to compare with its start; pass peft_config or set it to 0"
            )
        if REFERENCE in model.peft_config:
            return
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        state = get_peft_model_state_dict(model, adapter_name="default")
        model.add_adapter(REFERENCE, model.peft_config["default"])
        set_peft_model_state_dict(model, {k: v.clone() for k, v in state.items()}, adapter_name=REFERENCE)
        model.set_adapter("default")
        for name, parameter in model.named_parameters():
            if f".{REFERENCE}." in name:
                parameter.requires_grad_(False)

    @torch.no_grad()
    def _reference_logps(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Log-probabilities (B, C) of the first attempts under the starting policy; 0 elsewhere."""
        from trl.trainer.utils import use_adapter  # the same switch TRL uses for its own reference

        first = int(batch["first_mask"].sum(1).max())
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"][:, :first]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"][:, :first]], dim=1)
        out = torch.zeros(batch["completion_ids"].shape, device=ids.device)
        with use_adapter(self.accelerator.unwrap_model(self.model), adapter_name=REFERENCE):
            size = self.args.per_device_train_batch_size
            logps, _, _ = super()._get_per_token_logps_and_entropies(self.model, ids, mask, first, batch_size=size)
        out[:, :first] = logps
        return out

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        if torch.is_grad_enabled():
            self._logps = result[0]  # the policy's own pass: our terms use it again
        return result

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss = super()._compute_loss(model, inputs)
        logps, self._logps = self._logps, None
        mode = "train" if self.model.training else "eval"
        accumulation = self.current_gradient_accumulation_steps if mode == "train" else 1
        if logps is None:
            return loss
        critique = critique_loss(logps, inputs["teacher_mask"])
        self._metrics[mode]["critique_loss"].append(critique.item())
        if self.args.critique_coef > 0:
            loss = loss + self.args.critique_coef * critique / accumulation
        if self.args.first_turn_kl > 0:
            mask = inputs["first_mask"]
            gap = (inputs["first_ref"] - logps) * mask
            kl = ((gap.exp() - gap - 1) * mask).sum() / mask.sum().clamp(min=1)  # Schulman's k3, as TRL's own KL
            self._metrics[mode]["first_turn_kl"].append(kl.item())
            loss = loss + self.args.first_turn_kl * kl / accumulation
        return loss

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            counts = {
                "student_tokens": self.student_tokens,
                "attempts": self.attempts,
                "guard": dict(self.guard.counts),
            }
            moved = {"curriculum": self.curriculum.state()} if self.curriculum else {}
            (folder / STATE_FILE).write_text(json.dumps({**counts, **moved, "backward_passes": self._step}))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        checkpoint = Path(resume_from_checkpoint)
        if (checkpoint / STATE_FILE).is_file():
            counts = json.loads((checkpoint / STATE_FILE).read_text())
            self.student_tokens, self.attempts = counts["student_tokens"], counts["attempts"]
            self._step = counts["backward_passes"]  # TRL starts again at 0, but dialogues are seeded with it
            self.guard.counts.clear()
            self.guard.counts.update(counts["guard"])
            if self.curriculum is not None:
                self.curriculum.load(counts.get("curriculum", {}))

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """No card beside checkpoints: the card is written once, at the push, from the run's figures."""


def _solved_at(rollout: Rollout) -> int:
    """The turn of the first right attempt; 0 also for a student that let itself be talked out of it."""
    if not rollout.turns or not rollout.turns[-1].verdict.correct:
        return 0
    return next((i + 1 for i, turn in enumerate(rollout.turns) if turn.verdict.correct), 0)
