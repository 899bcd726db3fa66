"""The rollout half of RL2FTrainer: TRL asks for completions, and whole dialogues are played for it.

Here are the dialogues of an update, the groups that are played again because they would teach nothing, what goes back
to TRL, and the metrics. Every dialogue is seeded by its place in the update, whatever process plays it and however many
backward passes the update is worked through in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from accelerate.utils import gather_object
from trl import GRPOTrainer

from rl2f_hub.dialogue.chat_format import ChatFormat
from rl2f_hub.dialogue.context_window import OnCut, Rules
from rl2f_hub.dialogue.runner import Rollout, Student, run_dialogues
from rl2f_hub.engines import Sampling, derive_seed
from rl2f_hub.engines.transformers import TransformersEngine
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.records import Task
from rl2f_hub.teachers import Teacher
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.training.config import RL2FConfig
from rl2f_hub.training.credit import dialogue_returns, equal_groups
from rl2f_hub.training.curriculum import Curriculum
from rl2f_hub.training.sharded import local, whole_weights
from rl2f_hub.training.sync import AdapterSync, sampled_logps


class DialogueRollouts(GRPOTrainer):
    """`GRPOTrainer` whose `rollout_func` plays dialogues; made whole by `RL2FTrainer`, which sets what is named here."""

    args: RL2FConfig
    model: Any
    num_generations: int
    num_generations_eval: int
    tasks: dict[str, Task]  # all, by id
    training_tasks: list[Task]
    teacher: Teacher
    guard: Guard
    curriculum: Curriculum | None
    chat: ChatFormat
    _buffered_inputs: Any  # TRL's: the parts of the generation under way
    apart: AdapterSync | None  # an engine that holds the base itself

    def _begin(self) -> None:
        self.student_tokens = 0  # sampled in training so far, by all processes, and the attempts they make up
        self.attempts = 0
        self._unlogged = [0, 0]  # tokens and attempts of this process that are not in the sums yet
        self._cut_share = 0.0  # of the last batch's dialogues: those with an attempt that was cut
        self._evaluated = 0  # batches of the evaluation under way

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
        metrics["dialogue/student_tokens"] = [float(self.student_tokens)]
        if self.curriculum is not None and mode == "train":
            self.curriculum.update([(source, s > 0) for source, s, _, _ in every])
            for name, value in self.curriculum.metrics().items():
                metrics[name].append(value)

    def discounted_return(self, completions: list[Any], solved_at: list[int], **_: Any) -> list[float | None]:
        """The reward TRL sees: one discounted return a dialogue."""
        return [*dialogue_returns(solved_at, self.args.discount)]


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
