"""RL2FTrainer: GRPO on the student's tokens alone, the two added terms on theirs, and runs that can be resumed.

Losses and gradients are compared with sums written out here over plain forward passes of an untouched model.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rl2f_hub.dialogue.runner import run_dialogues
from rl2f_hub.engines import Sampling
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.records import Task
from rl2f_hub.teachers.controls import DoubtingTeacher, NoTeacher
from rl2f_hub.teachers.curriculum import CurriculumTeacher
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.teachers.scripted import ScriptedTeacher
from rl2f_hub.training.curriculum import Curriculum
from rl2f_hub.training.trainer import RL2FConfig, solved_at

Make = Callable[..., Any]
LORA = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}


def token_logps(model: Any, batch: dict[str, torch.Tensor], row: int) -> torch.Tensor:
    """Log-probabilities of one row's completion ids, from a pass over that row alone without padding."""
    prompt = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()]
    completion = batch["completion_ids"][row][batch["completion_mask"][row].bool()]
    logits = model(torch.cat([prompt, completion])[None]).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, completion[:, None])[:, 0]


def gradient(model: Any) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def parameters(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def lengths(batch: dict[str, torch.Tensor]) -> list[int]:
    return batch["completion_mask"].sum(1).tolist()


# -- the policy term ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss_type", ["dapo", "grpo"])
def test_the_policy_term_is_grpo_over_the_students_tokens(
    make_trainer: Make, make_model: Make, scored_batch: Make, judged_by_length: str, loss_type: str
) -> None:
    trainer = make_trainer(judged_by_length, critique_coef=0.0, loss_type=loss_type)
    batch = scored_batch(trainer)
    assert batch["advantages"].abs().sum() > 0, "some rewards were meant to differ"
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()

    plain = make_model()
    student = batch["tool_mask"]
    assert (student * batch["completion_mask"] == 0).any()
    terms = []
    for row, length in enumerate(lengths(batch)):
        own = student[row, :length]
        logps = token_logps(plain, batch, row) * own
        ratio = (logps - logps.detach()).exp()  # 1 in value: the policy has not moved since it sampled
        each = -batch["advantages"][row] * ratio * own
        terms.append(each.sum() / (own.sum() if loss_type == "grpo" else 1))
    total = sum(int(student[row, :length].sum()) for row, length in enumerate(lengths(batch)))
    expected = torch.stack(terms).sum() / (len(terms) if loss_type == "grpo" else total)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    torch.testing.assert_close(gradient(trainer.model), gradient(plain), rtol=1e-3, atol=1e-5)


def test_an_advantage_at_a_teachers_or_template_token_changes_nothing(
    make_trainer: Make, scored_batch: Make, judged_by_length: str
) -> None:
    trainer = make_trainer(judged_by_length, critique_coef=0.0)
    batch = scored_batch(trainer)
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    before = gradient(trainer.model)
    trainer.model.zero_grad()
    foreign = 1 - batch["tool_mask"] * batch["completion_mask"]
    assert foreign.sum() > 0
    poisoned = {**batch, "advantages": batch["advantages"][:, None] + 1e6 * foreign}
    again = trainer.compute_loss(trainer.model, poisoned)
    again.backward()
    assert again.item() == loss.item()
    assert torch.equal(gradient(trainer.model), before)


def test_rewards_are_the_discounted_returns_of_the_dialogues(
    make_trainer: Make, scored_batch: Make, judged_by_length: str
) -> None:
    trainer = make_trainer(judged_by_length, discount=0.5, scale_rewards="none")
    solved: list[int] = []
    original = trainer.rollout_func

    def kept(prompts: Any, t: Any) -> dict[str, Any]:
        out = original(prompts, t)
        solved.extend(out["solved_at"])
        return out

    trainer.rollout_func = kept
    batch = scored_batch(trainer)
    returns = torch.tensor([0.5 ** (s - 1) if s else 0.0 for s in solved]).view(-1, 4)
    assert len(set(solved)) > 1
    torch.testing.assert_close(batch["advantages"], (returns - returns.mean(1, keepdim=True)).flatten())


def test_equal_rewards_and_no_critique_leave_the_model_as_it_is(make_trainer: Make) -> None:
    trainer = make_trainer(critique_coef=0.0, tasks=[_impossible(n) for n in range(3)])
    before = parameters(trainer.model)
    trainer.train()
    assert same(before, parameters(trainer.model))


def test_different_rewards_move_the_model(make_trainer: Make, judged_by_length: str) -> None:
    """The test above can fail."""
    trainer = make_trainer(judged_by_length, critique_coef=0.0)
    before = parameters(trainer.model)
    trainer.train()
    assert not same(before, parameters(trainer.model))


@pytest.mark.parametrize("loss_type", ["dapo", "grpo"])
def test_one_turn_without_added_terms_is_trls_own_trainer(
    make_trainer: Make, make_model: Make, judged_by_length: str, tokenizer: Any, tmp_path: Path, loss_type: str
) -> None:
    """TRL's GRPOTrainer, given the same attempts and nothing else, reports the same losses and ends the same."""
    from trl import GRPOConfig, GRPOTrainer

    settings = {"max_steps": 3, "loss_type": loss_type, "optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 0.0}
    ours = make_trainer(judged_by_length, max_turns=1, critique_coef=0.0, **settings)
    attempts: list[dict[str, Any]] = []
    original = ours.rollout_func

    def kept(prompts: Any, trainer: Any) -> dict[str, Any]:
        out = original(prompts, trainer)
        own = [
            [i for i, mine in zip(ids, mask, strict=True) if mine]
            for ids, mask in zip(out["completion_ids"], out["env_mask"], strict=True)
        ]
        returns = [float(s == 1) for s in out["solved_at"]]
        attempts.append({"prompt_ids": out["prompt_ids"], "completion_ids": own, "logprobs": None, "returns": returns})
        return out

    ours.rollout_func = kept
    ours.train()
    replay = iter(attempts)
    dataset = ours.train_dataset
    theirs = GRPOTrainer(
        model=make_model(),
        reward_funcs=[lambda completions, returns, **_: returns],
        args=GRPOConfig(**_trl_settings(ours.args), output_dir=str(tmp_path / "theirs")),
        train_dataset=dataset,
        processing_class=copy.deepcopy(tokenizer),
        rollout_func=lambda prompts, trainer: next(replay),
    )
    theirs.train()
    losses = [[entry["loss"] for entry in t.state.log_history if "loss" in entry] for t in (ours, theirs)]
    assert len(losses[0]) == 3
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert any(abs(value) > 1e-4 for value in losses[0]) or loss_type == "grpo"
    start = parameters(make_model())
    assert not same(start, parameters(ours.model))
    for name, value in parameters(theirs.model).items():
        torch.testing.assert_close(parameters(ours.model)[name], value, rtol=1e-4, atol=1e-6)


def _trl_settings(args: RL2FConfig) -> dict[str, Any]:
    names = [
        *("max_steps", "loss_type", "optim", "learning_rate", "max_grad_norm", "use_cpu", "bf16", "report_to"),
        *("disable_tqdm", "logging_steps", "save_strategy", "gradient_checkpointing", "num_generations", "seed"),
        "per_device_train_batch_size",
    ]
    return {name: getattr(args, name) for name in names}


def _impossible(number: int) -> Task:
    from rl2f_hub.records import Privilege

    return Task(f"t-{number}", "test", "test", f"What is {number}?", Privilege("answer", "123456789"), "integer")


# -- the added terms ---------------------------------------------------------------------------------------------------


def test_the_critique_term_is_the_cross_entropy_of_the_teachers_words(
    make_trainer: Make, make_model: Make, scored_batch: Make
) -> None:
    """Rewards are equal here, so that the loss is the critique term and nothing else."""
    trainer = make_trainer(critique_coef=0.3, tasks=[_impossible(n) for n in range(3)])
    batch = scored_batch(trainer)
    assert not batch["advantages"].any()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()

    plain, total, count = make_model(), torch.zeros(()), 0
    for row, length in enumerate(lengths(batch)):
        teacher = batch["teacher_mask"][row, :length]
        total = total - (token_logps(plain, batch, row) * teacher).sum()
        count += int(teacher.sum())
    expected = 0.3 * total / count
    expected.backward()
    assert count > 0
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    torch.testing.assert_close(gradient(trainer.model), gradient(plain), rtol=1e-3, atol=1e-5)
    assert trainer._metrics["train"]["critique_loss"] == [pytest.approx(expected.item() / 0.3, rel=1e-4)]


def test_the_critique_term_reads_the_teachers_words_and_no_others(
    make_trainer: Make, scored_batch: Make, telling: Make
) -> None:
    trainer = make_trainer(teacher=telling("No, <|end|> no."), tasks=[_impossible(n) for n in range(3)])
    batch = scored_batch(trainer)
    chat = trainer.chat
    for row, length in enumerate(lengths(batch)):
        ids = batch["completion_ids"][row, :length][batch["teacher_mask"][row, :length].bool()].tolist()
        assert ids == [*chat.encode("No, <|end|> no."), chat.eos_id] * 3
        assert not (batch["teacher_mask"][row] * batch["tool_mask"][row])[:length].any()
        assert not batch["teacher_mask"][row, length:].any()


def test_terms_add_up(make_trainer: Make, scored_batch: Make, judged_by_length: str) -> None:
    losses = {}
    for coefficient in (0.0, 0.5):
        trainer = make_trainer(judged_by_length, critique_coef=coefficient)
        batch = scored_batch(trainer)
        losses[coefficient] = trainer.compute_loss(trainer.model, batch).item()
    critique = trainer._metrics["train"]["critique_loss"][0]
    assert losses[0.5] - losses[0.0] == pytest.approx(0.5 * critique, rel=1e-4)


def test_the_critique_is_taken_at_temperature_1_whatever_the_policys(
    make_trainer: Make, make_model: Make, scored_batch: Make, judged_by_length: str
) -> None:
    """Value and gradient, beside a policy term at 0.6: against an untouched model's own log-probabilities."""
    settings = {"temperature": 0.6, "tasks": [_impossible(n) for n in range(3)]}
    trainer = make_trainer(critique_coef=0.3, **settings)
    batch = scored_batch(trainer)
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    plain, total, count = make_model(), torch.zeros(()), 0
    for row, length in enumerate(lengths(batch)):
        teacher = batch["teacher_mask"][row, :length]
        total = total - (token_logps(plain, batch, row) * teacher).sum()
        count += int(teacher.sum())
    expected = 0.3 * total / count
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    torch.testing.assert_close(gradient(trainer.model), gradient(plain), rtol=1e-3, atol=1e-5)


def test_a_model_that_bends_its_logits_is_not_read_at_another_temperature(
    make_trainer: Make, make_model: Make, scored_batch: Make
) -> None:
    """Its own scale is known by name; one of an unknown name would train the critic on wrong numbers."""
    for name, known in (("final_logit_softcapping", True), ("output_multiplier", False)):
        model = make_model()
        setattr(model.config, name, 3.0)
        trainer = make_trainer(temperature=0.6, model=model, tasks=[_impossible(n) for n in range(3)])
        batch = scored_batch(trainer)
        if known:
            assert trainer.compute_loss(trainer.model, batch).isfinite()
        else:
            with pytest.raises(
                RL2FError, match=r"critique_coef: the logits of .*; set temperature to 1 or critique_coef to 0"
            ):
                trainer.compute_loss(trainer.model, batch)


def test_the_closing_word_on_a_solved_dialogue_is_a_target_of_the_critique(
    make_trainer: Make, scored_batch: Make, judged_by_length: str
) -> None:
    trainer = make_trainer(judged_by_length, max_turns=1)
    batch = scored_batch(trainer)
    closing = [*trainer.chat.encode("Correct."), trainer.chat.eos_id]
    said = [
        batch["completion_ids"][row][batch["teacher_mask"][row].bool()].tolist() == closing
        for row in range(len(batch["advantages"]))
    ]
    assert any(said)
    assert not all(said)


def test_first_turn_kl_is_zero_at_the_start_and_then_grows(make_trainer: Make, judged_by_length: str) -> None:
    from peft import LoraConfig

    trainer = make_trainer(
        judged_by_length, first_turn_kl=1.0, max_steps=3, learning_rate=5e-2, peft_config=LoraConfig(**LORA)
    )
    frozen = {n: p.clone() for n, p in trainer.model.named_parameters() if ".ref." in n}
    trainer.train()
    values = [entry["first_turn_kl"] for entry in trainer.state.log_history if "first_turn_kl" in entry]
    assert values[0] == pytest.approx(0, abs=1e-6)
    assert values[-1] > 1e-4
    now = dict(trainer.model.named_parameters())
    assert frozen
    assert all(torch.equal(value, now[name]) for name, value in frozen.items()), "the reference has moved"


def test_first_turn_kl_covers_the_first_attempt_alone(
    make_trainer: Make, scored_batch: Make, judged_by_length: str
) -> None:
    from peft import LoraConfig

    trainer = make_trainer(judged_by_length, first_turn_kl=1.0, peft_config=LoraConfig(**LORA))
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            if ".default." in name and "lora_B" in name:
                parameter.normal_(std=0.05)
    batch = scored_batch(trainer)
    trainer.compute_loss(trainer.model, batch)
    trainer.model.eval()
    gaps = []
    for row, length in enumerate(lengths(batch)):
        first = batch["first_mask"][row, :length].bool()
        own = batch["tool_mask"][row, :length].tolist()
        assert first.tolist() == [i < (own.index(0) if 0 in own else length) for i in range(length)]
        with torch.no_grad():
            now = token_logps(trainer.model, batch, row)[first]
            trainer.model.set_adapter("ref")
            start = token_logps(trainer.model, batch, row)[first]
            trainer.model.set_adapter("default")
        gaps += [start - now]
    gap = torch.cat(gaps)
    expected = (gap.exp() - gap - 1).mean().item()
    assert expected > 0
    assert trainer._metrics["train"]["first_turn_kl"] == [pytest.approx(expected, rel=1e-3)]


def test_first_turn_kl_needs_an_adapter(make_trainer: Make) -> None:
    with pytest.raises(UsageError, match="first_turn_kl: needs an adapter"):
        make_trainer(first_turn_kl=0.1)


# -- resuming ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}], ids=["whole", "accumulated"]
)
@pytest.mark.parametrize("adapter", [False, True], ids=["full", "adapter"])
def test_a_resumed_run_ends_bit_for_bit_like_one_that_went_through(
    make_trainer: Make, judged_by_length: str, tmp_path: Path, adapter: bool, options: dict[str, int]
) -> None:
    def build(folder: str) -> Any:
        from peft import LoraConfig

        more = {"peft_config": LoraConfig(**LORA), "first_turn_kl": 0.1} if adapter else {}
        return make_trainer(
            judged_by_length,
            output_dir=str(tmp_path / folder),
            max_steps=4,
            save_strategy="steps",
            save_steps=2,
            guard=Guard(),
            **options,
            **more,
        )

    through = build("through")
    through.train()
    resumed = build("resumed")
    resumed.train(resume_from_checkpoint=str(tmp_path / "through" / "checkpoint-2"))
    assert resumed.state.global_step == through.state.global_step == 4
    assert same(parameters(through.model), parameters(resumed.model))
    assert (resumed.student_tokens, resumed.attempts) == (through.student_tokens, through.attempts)
    assert resumed.guard.counts == through.guard.counts
    losses = [[e["loss"] for e in t.state.log_history if "loss" in e and e["step"] > 2] for t in (through, resumed)]
    assert len(losses[0]) == 2
    assert losses[0] == losses[1]


# -- what goes in, what comes out --------------------------------------------------------------------------------------


def test_only_the_question_is_in_trls_hands(make_trainer: Make, scored_batch: Make) -> None:
    """Data set, logs and batch of the parent class hold no privilege."""
    tasks = [_impossible(n) for n in range(3)]
    trainer = make_trainer(tasks=tasks)
    scored_batch(trainer)
    assert trainer.train_dataset.column_names == ["prompt"]
    assert "123456789" not in json.dumps(trainer.train_dataset.to_list())
    assert "123456789" not in str(trainer._logs)


def test_metrics_count_solved_dialogues_by_turn(make_trainer: Make, judged_by_length: str) -> None:
    trainer = make_trainer(judged_by_length, max_steps=1)
    trainer.train()
    entry = next(e for e in trainer.state.log_history if "accuracy/turn_1" in e)
    by_turn = [entry[f"accuracy/turn_{t}"] for t in (1, 2, 3)]
    assert by_turn == sorted(by_turn)
    assert 0 < by_turn[-1] <= 1
    assert 1 <= entry["dialogue/turns"] <= 3
    assert entry["dialogue/student_tokens"] == trainer.student_tokens > 0


def test_a_question_that_does_not_fit_is_refused_before_training(make_trainer: Make, make_model: Make) -> None:
    from rl2f_hub.records import Privilege

    long = Task("t-long", "test", "test", "why " * 200, Privilege("answer", "1"), "integer")
    with pytest.raises(UsageError, match="t-long"):
        make_trainer(tasks=[_impossible(1), long], model=make_model(context=100))


def test_two_tasks_of_one_name_are_refused(make_trainer: Make, make_task: Make) -> None:
    """The id is all that travels with a prompt: two tasks of one id would share a reference."""
    with pytest.raises(UsageError, match="t-1"):
        make_trainer(tasks=[_impossible(1), _impossible(2), make_task(1)])
    assert len(make_trainer(tasks=[_impossible(1), _impossible(1)]).train_dataset) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature: 0.0 must be above 0"),
        ({"critique_coef": -0.1}, "critique_coef: -0.1 must be 0 or more"),
        ({"first_turn_kl": float("inf")}, "first_turn_kl: inf must be 0 or more"),
        ({"resample_rounds": -1}, "resample_rounds: -1 must be at least 0"),
        ({"credit": "token"}, "credit: 'token' is unknown; known: dialogue, python:<file>:<name>, turn"),
        ({"on_cut": "cry"}, "on_cut: 'cry' is unknown; choose go_on or stop"),
        ({"thinking": "strip"}, "thinking: 'strip' is refused in training"),
        ({"top_k": 5}, "top_k: 5 has no effect"),
        ({"repetition_penalty": 1.2}, "repetition_penalty: 1.2 has no effect"),
        ({"generation_kwargs": {"num_beams": 2}}, "generation_kwargs: {'num_beams': 2} has no effect"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, "chat_template_kwargs: .* would not reach"),
        ({"credit": "turn", "reward_weights": [2.0]}, "credit: 'turn' has one reward"),
        ({"use_vllm": True}, "use_vllm: true is not supported"),
        ({"discount": 0.0}, r"discount: 0.0 must lie in \(0, 1\]"),
        ({"discount": 1.01}, "discount: 1.01 must lie"),
        ({"discount": -1.0}, "discount: -1.0 must lie"),
        ({"max_turns": 0}, "max_turns: 0 must be at least 1"),
        ({"turn_tokens": 0}, "turn_tokens: 0 must be at least 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        RL2FConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **settings)


# -- curriculum, doubts, controls --------------------------------------------------------------------------------------


def _at_levels(verifier: str) -> list[Task]:
    from rl2f_hub.records import Privilege

    return [
        Task(
            f"t-{n}",
            "src",
            "d",
            f"What is {n} * 34?",
            Privilege("answer", str(n * 34)),
            verifier,
            f'{{"level": {n % 3}}}',
        )
        for n in range(3, 12)
    ]


@pytest.mark.parametrize(
    "options",
    [{}, {"steps_per_generation": 2, "num_iterations": 2, "gradient_accumulation_steps": 1}],
    ids=["whole", "within-a-generation"],
)
def test_three_steps_and_three_more_are_six_with_curriculum_and_doubts(
    make_trainer: Make, judged_by_length: str, tmp_path: Path, options: dict[str, int]
) -> None:
    """Bit for bit, where a checkpoint falls between generations and where its dialogues serve further updates."""
    tasks = _at_levels(judged_by_length)

    def build(name: str, steps: int) -> Any:
        curriculum = Curriculum(tasks, raise_at=0.2, lower_at=0.0, memory=8)
        return make_trainer(
            tasks=tasks,
            curriculum=curriculum,
            teacher=DoubtingTeacher(CurriculumTeacher(curriculum.level), 0.5),
            output_dir=str(tmp_path / name),
            save_strategy="steps",
            save_steps=3,
            max_steps=steps,
            lr_scheduler_type="constant",
            **options,
        )

    through = build("through", 6)  # building draws the seed that training goes on from
    through.train()
    entry = next(e for e in reversed(through.state.log_history) if "curriculum/src/level" in e)
    assert entry["curriculum/src/level"] > 0
    assert 0 <= entry["curriculum/src/success"] <= 1
    half = build("half", 3)
    half.train()
    assert not same(parameters(half.model), parameters(through.model))
    checkpoint = tmp_path / "half" / "checkpoint-3"
    assert bool(options) == (checkpoint / "rl2f_generation_0.pt").is_file()
    resumed = build("resumed", 6)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.curriculum.state() == through.curriculum.state()
    assert resumed.guard.counts == through.guard.counts
    assert (resumed.student_tokens, resumed.attempts) == (through.student_tokens, through.attempts)
    assert same(parameters(through.model), parameters(resumed.model))
    if options:
        (checkpoint / "rl2f_generation_0.pt").unlink()
        with pytest.raises(RL2FError, match="the checkpoint lies within a generation; resume on as many processes"):
            build("again", 6).train(resume_from_checkpoint=str(checkpoint))


def test_giving_up_a_right_answer_when_doubted_earns_nothing(make_trainer: Make, judged_by_length: str) -> None:
    trainer = make_trainer(judged_by_length, teacher=DoubtingTeacher(ScriptedTeacher(), 1.0))
    held = caved = 0
    for n in range(4):
        rollouts = run_dialogues(
            list(trainer.tasks.values()),
            trainer._student(),
            trainer.teacher,
            guard=Guard(),
            max_turns=3,
            sampling=Sampling(1.0, 1.0, 6),
            seed=n,
        )
        for rollout in rollouts:
            right = [t.verdict.correct for t in rollout.turns]
            reward = trainer.discounted_return([], [solved_at(rollout)])[0]
            if any(right):
                held += right[-1]
                caved += not right[-1]
                assert (reward > 0) == right[-1]
    assert held
    assert caved


def test_no_teacher_is_no_training(make_trainer: Make) -> None:
    with pytest.raises(UsageError, match="'none' has no dialogue to train on"):
        make_trainer(teacher=NoTeacher())
