"""RL2FTrainer: TRL's GRPOTrainer over whole didactic dialogues.

Added to GRPO, and nothing else: rollouts are dialogues with a teacher (TRL's `rollout_func` seam), teacher and
template tokens are masked by span, the reward is the discounted return of the dialogue, shared by its turns or split
between them (`credit.py`), and two loss terms from the same forward pass may join: the critique term and a KL that
protects the first attempt. With `max_turns=1`, `critique_coef=0` and `first_turn_kl=0` the trainer is single-turn GRPO.

The terms are means over all dialogues of an update, however many backward passes and processes it is split into, and
dialogues are seeded by their place in the update: neither changes what is learnt.

Left out: multimodal models.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import gather_object
from datasets import Dataset

from rl2f_hub.dialogue.chat_format import ChatFormat, Thinking
from rl2f_hub.engines import Engine
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.kinds import CREDITS, find_part
from rl2f_hub.records import Task, fingerprint
from rl2f_hub.students.quantization import check_quantization_config
from rl2f_hub.teachers import as_teacher
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.teachers.scripted import ScriptedTeacher
from rl2f_hub.training.checkpoints import read_generation, read_state, write_generation, write_state
from rl2f_hub.training.config import RL2FConfig
from rl2f_hub.training.credit import Outcome, Scale
from rl2f_hub.training.critique import PlainLogps, critique_loss
from rl2f_hub.training.curriculum import Curriculum
from rl2f_hub.training.reference import REFERENCE, first_turn_kl, keep_reference
from rl2f_hub.training.rollouts import DialogueRollouts
from rl2f_hub.training.sharded import check_sharding
from rl2f_hub.training.sync import AdapterSync, against_sampler

__all__ = ["RL2FConfig", "RL2FTrainer"]

PATIENCE = 10  # updates in a row without one group of unequal returns, before a warning


class RL2FTrainer(DialogueRollouts):
    """Trains a student on didactic dialogues.

    Args:
        model: a Hub id, a path, a `transformers` model or a PEFT model whose adapter goes on training.
        args: an `RL2FConfig`.
        train_dataset: rows of a published `tasks` config (see `records.Task.to_row`).
        teacher: a `Teacher`, a function of a `FeedbackRequest` that returns a text, or a function of one argument called
            `student` that makes a teacher from the student (which may be its
            own teacher); the scripted teacher by default.
        guard: what checks the teacher's words; a fresh `Guard` by default.
        curriculum: moves tasks and hints with the student's success (give the teacher the same object).
        engine: one that holds the base itself and takes the adapter as it moves (`engines.vllm.colocated` or `served`);
            by default our own engine on the model in training.
        eval_dataset: rows like `train_dataset`'s, or a dict of such; every evaluation draws the same numbers.
        kwargs: `peft_config`, `quantization_config`, `processing_class`, `callbacks`, `optimizers`: as in `GRPOTrainer`.
    Raises:
        UsageError: settings that TRL or PEFT refuse, rows that are no tasks or do not fit into the context, a teacher
            without dialogues, weights that are split over processes.
    """

    _tag_names = ["trl", "grpo", "rl2f"]
    _name = "RL2F"

    def __init__(
        self,
        model: Any,
        args: RL2FConfig,
        train_dataset: Dataset,
        teacher: Any = None,
        guard: Guard | None = None,
        curriculum: Curriculum | None = None,
        eval_dataset: Dataset | dict[str, Dataset] | None = None,
        engine: Engine | None = None,
        **kwargs: Any,
    ) -> None:
        self.tasks: dict[str, Task] = {}
        prompts = self._prompts(train_dataset, "train_dataset")
        self.training_tasks = list(self.tasks.values())
        if isinstance(eval_dataset, dict):
            evaluated: Any = {k: self._prompts(rows, f"eval_dataset {k!r}") for k, rows in eval_dataset.items()}
        else:
            evaluated = None if eval_dataset is None else self._prompts(eval_dataset, "eval_dataset")
        self.guard = guard or Guard()
        self.curriculum = curriculum
        self._begin()
        self._listening = False
        self._logps: torch.Tensor | None = None
        self._plain: PlainLogps | None = None
        self._dull = 0  # updates in a row that could teach nothing
        check_quantization_config(kwargs.get("quantization_config"))
        try:
            super().__init__(
                model=model,
                reward_funcs=[self.discounted_return],
                args=args,
                train_dataset=prompts,
                eval_dataset=evaluated,
                rollout_func=self._rollout,
                **kwargs,
            )
        except ValueError as error:  # what TRL, PEFT and transformers refuse
            said = " ".join(str(error).split())[:300]
            raise UsageError(f"{'peft_config' if 'modules' in said else 'RL2FTrainer'}: {said}") from error
        check_sharding(self.accelerator, self.model, plain=args.critique_coef > 0 and args.temperature != 1)
        self.mask_truncated_completions = False  # ours is by attempt (`_trained`): a dialogue ends with feedback
        self.chat = ChatFormat(self._tokenizer, cast(Thinking | None, args.thinking))
        self.apart = None
        if engine is not None:
            unwrapped = self.accelerator.unwrap_model(self.model)
            self.apart = AdapterSync(engine, unwrapped, self.accelerator.num_processes, args.top_p)
        self.teacher = as_teacher(teacher or ScriptedTeacher(), self._student() if callable(teacher) else None)
        if self.teacher.independent_attempts and args.max_turns > 1:
            raise UsageError("teacher: 'none' has no dialogue to train on; use it in evaluation, or set max_turns to 1")
        self._check_lengths()
        self._check_groups()
        if args.first_turn_kl > 0:
            keep_reference(self.accelerator.unwrap_model(self.model))
        if args.critique_coef > 0 and args.temperature != 1:
            self._plain = self._unscaled()

    def _prompts(self, rows: Dataset, name: str) -> Dataset:
        """The data set in TRL's hands: only the id travels with a prompt, the privilege stays with the trainer."""
        tasks = [Task.from_row(row) for row in rows]
        for task in tasks:
            if self.tasks.setdefault(task.task_id, task) != task:
                raise UsageError(f"{name}: two different tasks have the id {task.task_id!r}; give each its own")
        if not tasks:
            raise UsageError(f"{name}: there is no task in it; give at least one")
        return Dataset.from_dict(
            {"prompt": [[{"role": "user", "content": t.prompt, "task_id": t.task_id}] for t in tasks]}
        )

    def _check_lengths(self) -> None:
        """A dialogue without a single attempt has nothing to train on."""
        engine = self._student().engine
        room = engine.context_length - self.args.turn_tokens
        for task in self.tasks.values():
            length = len(self.chat.open(task.prompt).ids)
            if length > room:
                raise UsageError(
                    f"train_dataset: task {task.task_id!r} has {length} tokens, and an attempt of "
                    f"{self.args.turn_tokens} must fit into {engine.context_length} with it; leave it out or lower "
                    "turn_tokens"
                )

    def _unscaled(self) -> PlainLogps:
        model = self.accelerator.unwrap_model(self.model)
        return PlainLogps(model.get_base_model() if hasattr(model, "peft_config") else model, self.args.temperature)

    # -- what a batch holds --------------------------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        out = super()._generate_and_score_completions(inputs)
        if self.apart is not None:
            out = against_sampler(out)
        mode = "train" if self.model.training else "eval"
        metrics = self._metrics[mode]
        metrics["completions/clipped_ratio"][-1] = self._cut_share  # TRL looks for a stop token after the last feedback
        width, device = out["completion_ids"].size(1), out["completion_ids"].device

        def padded(rows: list[list[int]]) -> torch.Tensor:
            return torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)

        # TRL merges what the rollout returned into `inputs`, row by row.
        out["teacher_mask"] = padded([row["teacher_mask"] for row in inputs])
        out["teacher_tokens"] = self.accelerator.gather(out["teacher_mask"].sum()).sum()
        if self.args.first_turn_kl > 0:
            out["first_mask"] = padded([[1] * row["first_attempt"] for row in inputs])
            out["first_tokens"] = self.accelerator.gather(out["first_mask"].sum()).sum()
            out["first_ref"] = self._reference_logps(out)
        if self.args.credit != "dialogue":
            out["advantages"] = self._turn_advantages(inputs, padded([row["turn_of"] for row in inputs]), mode)
        if mode == "train":
            self._watch_rewards(metrics["frac_reward_zero_std"][-1], metrics["reward"][-1])
        return self._without_idle_rows(out)

    def _turn_advantages(self, inputs: list[dict[str, Any]], turn_of: torch.Tensor, mode: str) -> torch.Tensor:
        """Advantages (B, C): at a student's id that of its turn, 0 elsewhere."""
        group: int = self.num_generations if mode == "train" else self.num_generations_eval
        outcomes = gather_object([Outcome(row["solved_at"], row["turns"]) for row in inputs])
        if group == 1:  # an evaluation of single dialogues: nothing to compare with
            return torch.zeros(turn_of.shape, device=turn_of.device)
        scheme = find_part(CREDITS, self.args.credit, "credit")
        every = scheme(outcomes, group, self.args.discount, cast(Scale, self.scale_rewards))
        if [len(row) for row in every] != [outcome.turns for outcome in outcomes]:
            raise UsageError(f"credit: {self.args.credit} must give each dialogue as many advantages as it has turns")
        first = self.accelerator.process_index * len(inputs)
        longest = max(row["turns"] for row in inputs)
        table = [[0.0, *row, *[0.0] * (longest - len(row))] for row in every[first : first + len(inputs)]]
        return torch.tensor(table, device=turn_of.device).gather(1, turn_of)

    def _watch_rewards(self, equal: float, mean: float) -> None:
        """Warn once when no group has differed for a while: then nothing is learnt from the rewards."""
        self._dull = self._dull + 1 if equal == 1 else 0
        if self._dull == PATIENCE:
            level = "solve nothing: use easier tasks or a longer warm-up" if mean == 0 else "all do the same"
            warnings.warn(
                f"reward: in the last {PATIENCE} updates the dialogues of every group had equal returns ({level}); nothing "
                "is learnt from them (see the metric frac_reward_zero_std; resample_rounds may help)",
                stacklevel=2,
            )

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
        rows = len(batch["advantages"])
        keep = (batch["advantages"] != 0).reshape(rows, -1).any(1)
        if not keep.any():
            keep[0] = True  # the loss needs a row
        return {k: v[keep] if torch.is_tensor(v) and v.dim() and len(v) == rows else v for k, v in batch.items()}

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
            logps, _, _ = self._get_per_token_logps_and_entropies(self.model, ids, mask, first, batch_size=size)
        out[:, :first] = logps
        return out

    # -- loss ----------------------------------------------------------------------------------------------------

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        if self._listening:
            self._logps = result[0]  # the policy's own pass: our terms use it again
        return result

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        self._listen(True)
        try:
            loss = super()._compute_loss(model, inputs)
        finally:
            self._listen(False)
        logps, self._logps = self._logps, None
        assert logps is not None
        teacher = logps
        if self._plain is not None:
            with self.accelerator.autocast():
                teacher = self._plain.score(inputs["completion_ids"], inputs["teacher_mask"], logps.detach())
        elif self.temperature != 1:
            teacher = logps.detach()  # logged only, at the policy's temperature
        critique = critique_loss(teacher, inputs["teacher_mask"], self._share(inputs["teacher_tokens"]))
        loss = loss + self._term("critique_loss", self.args.critique_coef, critique)
        if self.args.first_turn_kl > 0:
            kl = first_turn_kl(logps, inputs["first_ref"], inputs["first_mask"]) / self._share(inputs["first_tokens"])
            loss = loss + self._term("first_turn_kl", self.args.first_turn_kl, kl)
        if not torch.isfinite(loss):
            raise RL2FError(
                f"loss: {loss.item()} at step {self.state.global_step}: the model's numbers have run over; lower "
                "learning_rate or max_grad_norm, and resume from the last checkpoint"
            )
        return loss

    def _listen(self, on: bool) -> None:
        self._listening = on
        if self._plain is not None:
            self._plain.listening = on

    def _share(self, tokens: torch.Tensor) -> torch.Tensor:
        """What one backward pass divides its sum over tokens by, so that those of an update add up to the mean.

        `tokens` are the whole generation's; the rule is TRL's own for its loss `dapo`.
        """
        share = tokens.clamp(min=1) / self.accelerator.num_processes
        if self.model.training:
            share = share * self.current_gradient_accumulation_steps / self._passes
        return share

    def _term(self, name: str, weight: float, value: torch.Tensor) -> torch.Tensor | float:
        """Log one backward pass's part of a term so that the parts of an update average to it; returns what to add."""
        passes = self.current_gradient_accumulation_steps if self.model.training else 1
        whole = self.accelerator.reduce(value.detach() * passes, reduction="mean").item()
        self._metrics["train" if self.model.training else "eval"][name].append(whole)
        return weight * value if weight else 0.0

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """TRL's, but every evaluation starts at the same random numbers."""
        self._evaluated = 0
        return super().evaluation_loop(*args, **kwargs)

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def _owner(self) -> dict[str, Any]:
        """What a checkpoint must agree with for a run to go on from it."""
        args = self.args
        names = ("max_turns", "turn_tokens", "discount", "credit", "thinking", "on_cut", "num_generations", "seed")
        settings = {name: getattr(args, name) for name in names}
        return {**settings, "teacher": self.teacher.name, "tasks": fingerprint(self.training_tasks)[:16]}

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        if self._within_generation:
            write_generation(folder, self.accelerator.process_index, self._buffered_inputs)
        if self.args.should_save:
            counts = {
                "student_tokens": self.student_tokens,
                "attempts": self.attempts,
                "guard": dict(self.guard.counts),
                "backward_passes": self._step,
            }
            moved = {"curriculum": self.curriculum.state()} if self.curriculum else {}
            write_state(folder, self._owner(), {**counts, **moved})

    @property
    def _within_generation(self) -> bool:
        """Whether the next backward pass is on dialogues that were played before."""
        return self._step % (self._passes * self.num_iterations) != 0

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        counts = read_state(Path(resume_from_checkpoint), self._owner())
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self._restore(Path(resume_from_checkpoint), counts)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and self.is_deepspeed_enabled:  # which loads weights by itself
            self._restore(Path(checkpoint), read_state(Path(checkpoint), self._owner()))

    def _restore(self, checkpoint: Path, counts: dict[str, Any]) -> None:
        """Go on from what a checkpoint holds of ours."""
        self.student_tokens, self.attempts = counts["student_tokens"], counts["attempts"]
        self._step = counts["backward_passes"]  # TRL starts again at 0, but dialogues are seeded with it
        if self._within_generation:
            process, device = self.accelerator.process_index, self.accelerator.device
            self._buffered_inputs = read_generation(checkpoint, process, device)
        self.guard.counts.clear()
        self.guard.counts.update(counts["guard"])
        if self.curriculum is not None:
            self.curriculum.load(counts.get("curriculum", {}))

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """TRL's card where the trainer itself pushes; a run's card is written once, at its push, from its figures."""
        if self.args.push_to_hub:
            super().create_model_card(*args, **kwargs)
