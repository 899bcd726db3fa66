"""RL2FTrainer: TRL's GRPOTrainer over whole didactic dialogues.

Added to GRPO, and nothing else: rollouts are dialogues with a teacher (TRL's `rollout_func` seam), teacher and
template tokens are masked by span, the reward is the discounted return of the dialogue, shared by its turns or split
between them (`credit.py`), and two loss terms from the same forward pass may join: the critique term and a KL that
protects the first attempt. With `max_turns=1`, `critique_coef=0` and `first_turn_kl=0` the trainer is single-turn GRPO.

The terms are means over all dialogues of an update, however many backward passes and processes it is split into, and
dialogues are seeded by their place in the update: neither changes what is learnt.

What is TRL's or transformers' own and stands on which side of their interface (`tests/test_seams.py` pins each):

- public: the arguments of `GRPOTrainer`, `rollout_func` with `env_mask` (experimental in TRL), `compute_loss`, `train`,
  `evaluation_loop`, `create_model_card`, callbacks, `train_dataset`.
- private, overridden: `_generate_and_score_completions` (masks and advantages by turn join the batch) and
  `_get_per_token_logps_and_entropies` (our terms use the log-probabilities of TRL's own forward pass).
- private, read: `_metrics`, `_step`, `_buffered_inputs`, `_tokenizer`.

Left out: multimodal models; our state in checkpoints that the trainer itself pushes (`hub_strategy: checkpoint`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOTrainer

from rl2f_hub.dialogue.chat_format import ChatFormat, Thinking
from rl2f_hub.dialogue.context_window import OnCut, Rules
from rl2f_hub.dialogue.runner import Rollout, Student, run_dialogues
from rl2f_hub.engines import Engine, Sampling, derive_seed
from rl2f_hub.engines.transformers import TransformersEngine
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.kinds import CREDITS, find_part
from rl2f_hub.records import Task, fingerprint
from rl2f_hub.students.quantization import check_quantization_config
from rl2f_hub.teachers import as_teacher
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.teachers.scripted import ScriptedTeacher
from rl2f_hub.training.checkpoints import read_generation, read_state, write_generation, write_state
from rl2f_hub.training.checks import check_tasks
from rl2f_hub.training.config import RL2FConfig
from rl2f_hub.training.credit import Outcome, Scale, dialogue_returns, equal_groups
from rl2f_hub.training.critique import PlainLogps, critique_loss
from rl2f_hub.training.curriculum import Curriculum
from rl2f_hub.training.inputs import check_arguments, read_tasks
from rl2f_hub.training.reference import REFERENCE, first_turn_kl, keep_reference
from rl2f_hub.training.sharded import check_sharding, local, whole_weights
from rl2f_hub.training.sync import AdapterSync, against_sampler, sampled_logps

__all__ = ["RL2FConfig", "RL2FTrainer"]

Rows: TypeAlias = Dataset | Sequence[dict[str, Any] | Task]

FIRST_PATIENCE, PATIENCE = 3, 10  # batches in a row without one group of unequal returns: at the start, and later


class RL2FTrainer(GRPOTrainer):
    """Trains a student on didactic dialogues.

    Args:
        model: a Hub id, a path, a `transformers` model or a PEFT model whose adapter goes on training.
        args: an `RL2FConfig`.
        train_dataset: rows of a published `tasks` config (see `records.Task.to_row`), or of `prompt` and `reference` alone.
        teacher: a `Teacher`, a function of a `FeedbackRequest` that returns a text, or a function of one argument called
            `student` that makes a teacher of it; the scripted teacher by default.
        guard: what checks the teacher's words; a fresh `Guard` by default.
        curriculum: moves tasks and hints with the student's success (give the teacher the same object).
        engine: one that holds the base itself and takes the adapter as it moves (`engines.vllm.colocated` or `served`);
            by default our own engine on the model in training.
        eval_dataset: rows like `train_dataset`'s, or a dict of such; every evaluation draws the same numbers.
        verifier: judges in place of those that the rows name: a `Verifier`, or a function (task, attempt) that returns a
            `Verdict`, a bool or a score.
        kwargs: `peft_config`, `quantization_config`, `processing_class`, `callbacks`, `optimizers`: as in `GRPOTrainer`.
    Attributes:
        student_tokens, attempts: that all processes have sampled in training so far.
        num_generations, num_generations_eval: dialogues per task, in training and in an evaluation.
        rewarded_batches: batches of dialogues in which some group had something to learn from its rewards.
    Raises:
        UsageError: settings that TRL or PEFT refuse, arguments without effect, rows that are no tasks or do not fit into
            the context, fewer of them than a step asks, a teacher without dialogues, weights split over processes.
    """

    _tag_names = ["trl", "grpo", "rl2f"]
    _name = "RL2F"
    args: RL2FConfig
    model: Any
    num_generations: int
    num_generations_eval: int
    _buffered_inputs: Any  # TRL's: the parts of the generation under way

    def __init__(
        self,
        model: Any,
        args: RL2FConfig,
        train_dataset: Rows,
        teacher: Any = None,
        guard: Guard | None = None,
        curriculum: Curriculum | None = None,
        eval_dataset: Rows | dict[str, Rows] | None = None,
        engine: Engine | None = None,
        verifier: Any = None,
        **kwargs: Any,
    ) -> None:
        check_arguments(kwargs)
        self.tasks: dict[str, Task] = {}
        prompts = self._prompts(train_dataset, "train_dataset")
        self.training_tasks = list(self.tasks.values())
        if isinstance(eval_dataset, dict):
            evaluated: Any = {k: self._prompts(rows, f"eval_dataset {k!r}") for k, rows in eval_dataset.items()}
        else:
            evaluated = None if eval_dataset is None else self._prompts(eval_dataset, "eval_dataset")
        self.guard = guard or Guard()
        self.verifier = verifier
        self.curriculum = curriculum
        self.student_tokens = 0  # sampled in training so far, by all processes, and the attempts they make up
        self.attempts = 0
        self._unlogged = [0, 0]  # tokens and attempts of this process that are not in the sums yet
        self._cut_share = 0.0  # of the last batch's dialogues: those with an attempt that was cut
        self._evaluated = 0  # batches of the evaluation under way
        self._listening = False
        self._logps: torch.Tensor | None = None
        self._plain: PlainLogps | None = None
        self.rewarded_batches = 0  # of dialogues, in training: those with a group whose returns differ
        self._dull = 0  # batches in a row without
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
        except (ValueError, ImportError) as error:  # what TRL, PEFT and transformers refuse
            said = " ".join(str(error).split())[:300]
            raise UsageError(f"{'peft_config' if 'modules' in said else 'RL2FTrainer'}: {said}") from error
        self.add_callback(_OwnState(self))
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
        asked = cast(int, args.generation_batch_size) // cast(int, args.num_generations)
        fix = "give more tasks, or lower per_device_train_batch_size or steps_per_generation"
        check_tasks(len(prompts), asked, "train_dataset", fix)
        if args.first_turn_kl > 0:
            keep_reference(self.accelerator.unwrap_model(self.model))
        if args.critique_coef > 0 and args.temperature != 1:
            self._plain = self._unscaled()

    def _prompts(self, rows: Rows, name: str) -> Dataset:
        """The data set in TRL's hands: only the id travels with a prompt, the privilege stays with the trainer."""
        tasks = read_tasks(rows, name)
        for task in tasks:
            if self.tasks.setdefault(task.task_id, task) != task:
                raise UsageError(f"{name}: two different tasks have the id {task.task_id!r}; give each its own")
        return Dataset.from_dict(
            {"prompt": [[{"role": "user", "content": t.prompt, "task_id": t.task_id}] for t in tasks]}
        )

    def _check_lengths(self) -> None:
        """A dialogue without a single attempt has nothing to train on."""
        engine = self._student().engine
        room = engine.context_length - self.args.turn_tokens
        for task in self.tasks.values():
            length = len(self.chat.new_ledger(task.prompt).ids)
            if length > room:
                raise UsageError(
                    f"train_dataset: task {task.task_id!r} has {length} tokens, and an attempt of "
                    f"{self.args.turn_tokens} must fit into {engine.context_length} with it; leave it out or lower "
                    "turn_tokens"
                )

    def _unscaled(self) -> PlainLogps:
        model = self.accelerator.unwrap_model(self.model)
        return PlainLogps(model.get_base_model() if hasattr(model, "peft_config") else model, self.args.temperature)

    # -- the dialogues of an update ------------------------------------------------------------------------------

    def _check_groups(self) -> None:
        local = self.args.per_device_train_batch_size * self._passes
        if self.args.resample_rounds and local % self.num_generations:
            raise UsageError(
                f"resample_rounds: a process plays {local} dialogues at once, which are no whole groups of "
                f"{self.num_generations}; raise per_device_train_batch_size or set resample_rounds to 0"
            )

    def _student(self) -> Student:
        if self.apart is not None:
            self.apart.bring()
            return Student(self.apart.engine, self.chat, "policy")
        model = self.accelerator.unwrap_model(self.model)
        fold = not (self.is_fsdp_enabled or self.is_deepspeed_enabled)  # gathered weights are not ours to change
        engine = TransformersEngine(model, self._tokenizer.pad_token_id, self.args.cache_tokens, fold)
        return Student(engine, self.chat, "policy")

    def _rollout(self, prompts: list[Any], trainer: GRPOTrainer) -> dict[str, Any]:
        """One dialogue for each prompt given, in order (TRL has repeated them `num_generations` times already)."""
        mode = "train" if self.model.training else "eval"
        tasks = [self.tasks[p[0]["task_id"]] for p in prompts]
        if self.curriculum is not None and mode == "train":
            tasks = [self.curriculum.swap(task, self._generation()) for task in tasks]
        first = self.accelerator.process_index * len(tasks)
        with whole_weights(self.model_wrapped, self.accelerator, self._tokenizer.pad_token_id):
            rollouts = self._play(tasks, range(first, first + len(tasks)), mode)
            if self.args.resample_rounds and mode == "train":
                self._replace_equal_groups(rollouts, first)
        self._evaluated += mode == "eval"
        self._log_rollouts(rollouts, mode)
        cut = [r.ledger.prompt_length for r in rollouts]

        def after_prompt(of: Callable[[Rollout], list[int]]) -> list[list[int]]:
            return [of(r)[c:] for r, c in zip(rollouts, cut, strict=True)]

        return {
            "prompt_ids": [r.ledger.ids[:c] for r, c in zip(rollouts, cut, strict=True)],
            "completion_ids": after_prompt(lambda r: r.ledger.ids),
            "logprobs": None if self.apart is None else [sampled_logps(r) for r in rollouts],
            "env_mask": after_prompt(self._trained),
            "teacher_mask": after_prompt(lambda r: r.ledger.mask("teacher")),
            "turn_of": after_prompt(turns_of),
            "first_attempt": [sum(r.ledger.mask("student", 1)) for r in rollouts],
            "solved_at": [solved_at(r) for r in rollouts],
            "turns": [len(r.turns) for r in rollouts],
        }

    def _generation(self) -> int:
        """How many batches of dialogues training has played before; the same for any split into backward passes."""
        return self._step // (self._passes * self.num_iterations)

    @property
    def _passes(self) -> int:
        """Backward passes that a batch of dialogues is worked through in."""
        return cast(int, self.args.steps_per_generation)

    def _play(self, tasks: list[Task], places: Iterable[int], mode: str, round_: int = 0) -> list[Rollout]:
        """Dialogues about `tasks`, seeded by their places in the update; evaluations all draw the same numbers."""
        args = self.args
        when = (self.state.global_step, self._generation()) if mode == "train" else (0, self._evaluated)
        try:
            rollouts = run_dialogues(
                tasks,
                self._student(),
                self.teacher,
                guard=self.guard,
                verifier=self.verifier,
                max_turns=args.max_turns,
                sampling=Sampling(temperature=args.temperature, top_p=args.top_p, turn_tokens=args.turn_tokens),
                seed=args.seed,
                seeds=[derive_seed(args.seed, mode, *when, round_, place) for place in places],
                wave=len(tasks),
                rules=Rules(on_cut=cast(OnCut, args.on_cut)),
                overlap=args.overlap,
            )
        except RuntimeError:
            self._check_weights()  # drawing from logits that are no numbers fails in ways that do not say so
            raise
        self._unlogged[0] += sum(len(r.ledger.logprobs) for r in rollouts)
        self._unlogged[1] += sum(len(r.turns) for r in rollouts)
        return rollouts

    def _check_weights(self) -> None:
        if not all(local(p).isfinite().all() for p in self.model.parameters() if p.requires_grad):
            raise RL2FError(
                f"loss: the weights are not numbers at step {self.state.global_step}; lower learning_rate and resume from "
                "the last checkpoint"
            )

    def _replace_equal_groups(self, rollouts: list[Rollout], first: int) -> None:
        """Play other tasks in place of the groups that teach nothing, `resample_rounds` times at most (in place).

        Every process chooses the tasks for all of them, and plays those of its own groups.
        """
        group, played, rounds = self.num_generations, 0, 0
        ids = gather_object([r.task.task_id for r in rollouts])
        total, shown = len(ids) // group, set(ids)  # a task that has just taught nothing does not come back
        equal = self._equal_places(rollouts, first)
        shares = [len(equal) / total]
        while equal and rounds < self.args.resample_rounds:
            rounds += 1
            tasks: list[Task] = []
            spots: list[int] = []
            for place in equal:
                task = self._another(shown, rounds, place)
                shown.add(task.task_id)
                if first <= place < first + len(rollouts):
                    tasks += [task] * group
                    spots += range(place - first, place - first + group)
            fresh = self._play(tasks, [first + spot for spot in spots], "train", rounds) if tasks else []
            for spot, rollout in zip(spots, fresh, strict=True):
                rollouts[spot] = rollout
            played += len(equal) * group
            equal = self._equal_places(rollouts, first)
        shares.append(len(equal) / total)
        metrics = self._metrics["train"]
        for name, value in (
            ("equal_before", shares[0]),
            ("equal_after", shares[1]),
            ("rounds", rounds),
            ("dialogues", played),
        ):
            metrics[f"resample/{name}"].append(float(value))

    def _equal_places(self, rollouts: list[Rollout], first: int) -> list[int]:
        """Where in the update the groups of equal returns begin, those of all processes in order."""
        mine = equal_groups(self._returns(rollouts), self.num_generations)
        return sorted(gather_object([first + n * self.num_generations for n in mine]))

    def _another(self, shown: set[str], round_: int, place: int) -> Task:
        """A training task that the update does not hold yet, if there is one: drawn by step, round and place."""
        tasks = self.training_tasks
        start = derive_seed(self.args.seed, "resample", self._generation(), round_, place) % len(tasks)
        order = (tasks[(start + i) % len(tasks)] for i in range(len(tasks)))
        chosen = next((task for task in order if task.task_id not in shown), tasks[start])
        return chosen if self.curriculum is None else self.curriculum.swap(chosen, self._generation())

    def _trained(self, rollout: Rollout) -> list[int]:
        """1 on the ids that the policy's loss is over: the student's, but for cut attempts where they are to be left out."""
        mask = rollout.ledger.mask("student")
        if self.args.mask_truncated_completions:
            for number, turn in enumerate(rollout.turns, start=1):
                if turn.cut:
                    mask = [m - own for m, own in zip(mask, rollout.ledger.mask("student", number), strict=True)]
        return mask

    def _returns(self, rollouts: list[Rollout]) -> list[float]:
        return dialogue_returns([solved_at(r) for r in rollouts], self.args.discount)

    def _log_rollouts(self, rollouts: list[Rollout], mode: str) -> None:
        """Metrics over the dialogues of all processes, and the curriculum's moves by them."""
        metrics = self._metrics[mode]
        mine = [(r.task.source, solved_at(r), len(r.turns), any(t.cut for t in r.turns)) for r in rollouts]
        every = gather_object(mine)
        solved = [row[1] for row in every]
        for turn in range(1, self.args.max_turns + 1):
            metrics[f"accuracy/turn_{turn}"].append(sum(0 < s <= turn for s in solved) / len(solved))
        metrics["dialogue/turns"].append(sum(row[2] for row in every) / len(every))
        self._cut_share = sum(row[3] for row in every) / len(every)
        sampled = gather_object([tuple(self._unlogged)])
        self._unlogged = [0, 0]
        if mode == "train":
            self.student_tokens += sum(tokens for tokens, _ in sampled)
            self.attempts += sum(attempts for _, attempts in sampled)
            self._watch_rewards(dialogue_returns(solved, self.args.discount))
        metrics["dialogue/student_tokens"] = [float(self.student_tokens)]
        if self.curriculum is not None and mode == "train":
            self.curriculum.update([(source, s > 0) for source, s, _, _ in every])
            for name, value in self.curriculum.metrics().items():
                metrics[name].append(value)

    def discounted_return(self, completions: list[Any], solved_at: list[int], **_: Any) -> list[float | None]:
        """The reward TRL sees: one discounted return per dialogue, from `solved_at`; the texts in `completions` are not read."""
        return [*dialogue_returns(solved_at, self.args.discount)]

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

    def _watch_rewards(self, returns: list[float]) -> None:
        """Count batches of dialogues with a reward to learn from; warn when the first few, or many in a row, have none."""
        equal = len(equal_groups(returns, self.num_generations)) * self.num_generations == len(returns)
        self._dull = self._dull + 1 if equal else 0
        self.rewarded_batches += not equal
        if self._dull == (PATIENCE if self.rewarded_batches else FIRST_PATIENCE):
            level = "all do the same" if any(returns) else "solve nothing: use easier tasks or a longer warm-up"
            warnings.warn(
                f"reward: in the last {self._dull} batches the dialogues of every group had equal returns ({level}); nothing "
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

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """GRPO's loss and our terms, from one forward pass of `model`.

        Args:
            inputs, return_outputs, num_items_in_batch: as in `transformers.Trainer.compute_loss`.
        Raises:
            RL2FError: the loss is not finite.
        """
        self._listen(True)
        try:
            loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
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

    def _write_state(self) -> None:
        """Put our part into the checkpoint that has just been saved."""
        folder = Path(cast(str, self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        if self._within_generation:
            write_generation(folder, self.accelerator.process_index, self._buffered_inputs)
        if self.args.should_save:
            counts = {
                "student_tokens": self.student_tokens,
                "attempts": self.attempts,
                "rewarded_batches": self.rewarded_batches,
                "guard": dict(self.guard.counts),
                "backward_passes": self._step,
            }
            moved = {"curriculum": self.curriculum.state()} if self.curriculum else {}
            write_state(folder, self._owner(), {**counts, **moved})

    @property
    def _within_generation(self) -> bool:
        """Whether the next backward pass is on dialogues that were played before."""
        return self._step % (self._passes * self.num_iterations) != 0

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """TRL's. `resume_from_checkpoint` is refused before it is loaded where it is of other tasks or dialogues."""
        found = get_last_checkpoint(self.args.output_dir) if resume_from_checkpoint is True else resume_from_checkpoint
        if found:
            self.restore(Path(cast(str, found)))
        return super().train(found or resume_from_checkpoint, *args, **kwargs)

    def restore(self, checkpoint: Path) -> None:
        """Go on from what a checkpoint holds of ours: counters, seeds, the curriculum, dialogues under way; no weights.

        Raises:
            UsageError, RL2FError: see `checkpoints.read_state`.
        """
        counts = read_state(checkpoint, self._owner())
        self.student_tokens, self.attempts = counts["student_tokens"], counts["attempts"]
        self.rewarded_batches = counts.get("rewarded_batches", 0)
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


class _OwnState(TrainerCallback):
    """Adds the trainer's own state to every checkpoint."""

    def __init__(self, trainer: RL2FTrainer) -> None:
        self.trainer = trainer

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer._write_state()


def solved_at(rollout: Rollout) -> int:
    """The turn of the first right attempt; 0 also for a student that let itself be talked out of it."""
    if not rollout.turns or not rollout.turns[-1].verdict.correct:
        return 0
    return next((i + 1 for i, turn in enumerate(rollout.turns) if turn.verdict.correct), 0)


def turns_of(rollout: Rollout) -> list[int]:
    """For each id of the ledger the turn whose attempt it is part of; 0 where it is not the student's."""
    out = [0] * len(rollout.ledger.ids)
    for span in rollout.ledger.spans:
        if span.role == "student":
            out[span.start : span.end] = [span.turn] * (span.end - span.start)
    return out
