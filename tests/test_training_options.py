"""What GRPOConfig offers works with dialogues or is refused; credit by turn, evaluation, resampling, foreign checkpoints."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.records import Privilege, Task
from rl2f_hub.training.credit import equal_groups
from rl2f_hub.training.trainer import RL2FConfig, RL2FTrainer, solved_at, turns_of

Make = Callable[..., Any]
LORA = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}


def _impossible(number: int) -> Task:
    return Task(f"t-{number}", "test", "test", f"What is {number}?", Privilege("answer", "123456789"), "integer")


def weights(model: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad])


# -- credit by turn ----------------------------------------------------------------------------------------------------


def test_every_turn_of_a_dialogue_has_one_advantage_and_turns_differ(
    make_trainer: Make, scored_batch: Make, judged_by_length: str
) -> None:
    """(B, C) advantages: constant over an attempt, 0 on everybody else's tokens, not the same for all attempts."""
    trainer = make_trainer(judged_by_length, credit="turn", scale_rewards="none", critique_coef=0.0)
    kept: list[Any] = []
    play = trainer._play
    trainer._play = lambda *a, **k: kept.extend(play(*a, **k)) or kept
    batch = scored_batch(trainer)
    advantages, own = batch["advantages"], batch["tool_mask"] * batch["completion_mask"]
    assert advantages.shape == batch["completion_ids"].shape
    assert not advantages[~own.bool()].any()
    several = 0
    for row, rollout in enumerate(kept):
        turns = torch.tensor(turns_of(rollout)[rollout.ledger.prompt_length :])
        values = [advantages[row, : len(turns)][turns == t].unique() for t in range(1, len(rollout.turns) + 1)]
        assert all(len(v) == 1 for v in values)
        several += len({v.item() for v in values}) > 1
    assert several
    trainer.compute_loss(trainer.model, batch).backward()


def test_with_one_turn_credit_by_turn_is_credit_by_dialogue_against_the_others(
    make_trainer: Make, scored_batch: Make, judged_by_length: str
) -> None:
    """Less the mean of the other three is 4/3 of less the mean of all four."""
    found = {}
    for credit in ("dialogue", "turn"):
        trainer = make_trainer(judged_by_length, credit=credit, max_turns=1, scale_rewards="none", critique_coef=0.0)
        batch = scored_batch(trainer)
        trainer._without_idle_rows = lambda b: b
        found[credit] = trainer.compute_loss(trainer.model, batch).item()
    assert found["dialogue"] != 0
    assert found["turn"] == pytest.approx(found["dialogue"] * 4 / 3, rel=1e-4)


@pytest.mark.parametrize("credit", ["dialogue", "turn"])
def test_equal_rewards_move_nothing_whatever_the_credit(make_trainer: Make, credit: str) -> None:
    trainer = make_trainer(credit=credit, critique_coef=0.0, tasks=[_impossible(n) for n in range(3)])
    before = weights(trainer.model)
    trainer.train()
    assert torch.equal(weights(trainer.model), before)


# -- what GRPOConfig offers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"loss_type": "grpo", "beta": 0.05},
        {"loss_type": "bnpo", "scale_rewards": "batch"},
        {"loss_type": "dr_grpo", "scale_rewards": "none"},
        {"loss_type": "cispo", "epsilon_high": 5.0},
        {"loss_type": "sapo", "num_iterations": 2},
        {"loss_type": "luspo", "importance_sampling_level": "sequence"},
        {"loss_type": "vespo"},
        {"loss_type": "dapo", "steps_per_generation": 2, "gradient_accumulation_steps": 1, "delta": 4.0},
        {"loss_type": "dapo", "top_entropy_quantile": 0.5, "entropy_coef": 0.01, "temperature": 0.8},
        {"loss_type": "dapo", "gradient_checkpointing": True, "mask_truncated_completions": True},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_losses_and_their_options_train(make_trainer: Make, judged_by_length: str, options: dict[str, Any]) -> None:
    """With credit by turn and all added terms: finite, and it moves."""
    from peft import LoraConfig

    trainer = make_trainer(
        judged_by_length, credit="turn", first_turn_kl=0.1, peft_config=LoraConfig(**LORA), **options
    )
    before = weights(trainer.model)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2
    assert torch.tensor(losses).isfinite().all()
    assert not torch.equal(weights(trainer.model), before)
    if options.get("beta"):
        assert any("kl" in entry for entry in trainer.state.log_history)


def test_attempts_that_were_cut_leave_the_loss_and_others_stay(
    make_trainer: Make, scored_batch: Make, judged_by_length: str
) -> None:
    masks = {}
    for masked in (False, True):
        trainer = make_trainer(judged_by_length, mask_truncated_completions=masked, turn_tokens=3)
        kept: list[Any] = []
        play = trainer._play
        trainer._play = lambda *a, _k=kept, _p=play, **k: _k.extend(_p(*a, **k)) or _k
        batch = scored_batch(trainer)
        masks[masked] = batch["tool_mask"] * batch["completion_mask"]
        assert batch["num_items_in_batch"] == masks[masked].sum()
        share = trainer._metrics["train"]["completions/clipped_ratio"][-1]
        assert share == pytest.approx(sum(any(t.cut for t in r.turns) for r in kept) / len(kept))
    cut = whole = 0
    for row, rollout in enumerate(kept):
        turns = torch.tensor(turns_of(rollout)[rollout.ledger.prompt_length :])
        for number, turn in enumerate(rollout.turns, start=1):
            own = masks[True][row, : len(turns)][turns == number]
            assert own.tolist() == [0 if turn.cut else 1] * len(own)
            cut, whole = cut + turn.cut, whole + (not turn.cut)
    assert cut
    assert whole
    assert masks[False].sum() > masks[True].sum()


def test_the_trainer_evaluates_and_always_on_the_same_numbers(
    make_trainer: Make, judged_by_length: str, make_task: Make
) -> None:
    """In training (eval_strategy) and when asked; the tasks are their own, and the model is left as it was."""
    from datasets import Dataset

    rows = Dataset.from_list([make_task(n, str(n * 34), verifier=judged_by_length).to_row() for n in range(20, 24)])
    trainer = make_trainer(
        judged_by_length, eval_dataset=rows, eval_strategy="steps", eval_steps=1, per_device_eval_batch_size=4
    )
    before = weights(trainer.model)
    first, again = trainer.evaluate(), trainer.evaluate()
    for name in ("eval_reward", "eval_accuracy/turn_3", "eval_critique_loss", "eval_loss"):
        assert first[name] == again[name], name
    assert 0 < first["eval_accuracy/turn_3"] < 1
    assert trainer.student_tokens == 0, "only training is counted"
    assert torch.equal(weights(trainer.model), before)
    trainer.train()
    assert sum("eval_reward" in entry for entry in trainer.state.log_history) == 2
    assert {t.task_id for t in trainer.training_tasks}.isdisjoint(row["task_id"] for row in rows)


def test_a_model_by_name_with_quantisation_and_an_adapter(
    make_model: Make, tokenizer: Any, make_task: Make, tmp_path: Path
) -> None:
    """As with any TRL trainer: a path, `quantization_config` and `peft_config` in the constructor."""
    pytest.importorskip("bitsandbytes")
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import BitsAndBytesConfig

    folder = tmp_path / "model"
    make_model().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    trainer = RL2FTrainer(
        str(folder),
        RL2FConfig(
            output_dir=str(tmp_path / "out"),
            per_device_train_batch_size=4,
            num_generations=4,
            max_steps=1,
            turn_tokens=4,
            max_turns=2,
            learning_rate=1e-2,
            use_cpu=True,
            bf16=False,
            report_to="none",
            disable_tqdm=True,
            gradient_checkpointing=False,
            save_strategy="no",
            model_init_kwargs={"device_map": {"": "cpu"}, "dtype": "float32"},
        ),
        Dataset.from_list([make_task(n, str(n * 34)).to_row() for n in range(3)]),
        quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
        peft_config=LoraConfig(**LORA),
    )
    before = weights(trainer.model)
    trainer.train()
    assert trainer.model.get_base_model().is_loaded_in_4bit
    assert not torch.equal(weights(trainer.model), before)


# -- groups that teach nothing -----------------------------------------------------------------------------------------


def _mixed(judged: str) -> list[Task]:
    """Mostly tasks that nobody solves."""
    hard = [_impossible(n) for n in range(6)]
    open_ = [
        Task(f"o-{n}", "test", "test", f"What is {n} * 34?", Privilege("answer", str(n * 34)), judged)
        for n in range(30)
    ]
    return [*hard, *open_[:2]] if judged == "none" else [*hard, *open_]


def test_equal_groups_are_played_again_within_the_budget(make_trainer: Make, judged_by_length: str) -> None:
    """Groups of equal returns give way to other tasks; what is thrown away is counted as sampled."""
    runs = {}
    for rounds in (0, 3):
        trainer = make_trainer(judged_by_length, resample_rounds=rounds, tasks=_mixed(judged_by_length), max_steps=3)
        trainer.train()
        runs[rounds] = trainer
    log = [entry for entry in runs[3].state.log_history if "resample/rounds" in entry]
    assert len(log) == 3
    assert any(entry["resample/rounds"] > 0 for entry in log)
    for entry in log:
        assert entry["resample/rounds"] <= 3
        assert entry["resample/equal_after"] <= entry["resample/equal_before"]
        assert entry["frac_reward_zero_std"] == pytest.approx(entry["resample/equal_after"])
    assert any(entry["resample/equal_after"] < entry["resample/equal_before"] for entry in log)
    assert log[0]["resample/rounds"] > 0, "the seed was chosen for it"
    plain = [entry for entry in runs[0].state.log_history if "dialogue/student_tokens" in entry]
    assert log[0]["dialogue/student_tokens"] > plain[0]["dialogue/student_tokens"]
    assert not any("resample/rounds" in entry for entry in runs[0].state.log_history)


def test_resampling_leaves_unequal_groups_and_stops_at_the_budget(make_trainer: Make, judged_by_length: str) -> None:
    trainer = make_trainer(judged_by_length, resample_rounds=2, tasks=[_impossible(n) for n in range(9)])
    trainer.model.train()
    rollouts = trainer._play(trainer.training_tasks[:1] * 4 + trainer.training_tasks[1:2] * 4, range(8), "train")
    assert equal_groups([float(solved_at(r)) for r in rollouts], 4) == [0, 1]
    trainer._replace_equal_groups(rollouts, 0)
    assert trainer._metrics["train"]["resample/rounds"] == [2.0]
    assert trainer._metrics["train"]["resample/dialogues"] == [16.0]
    assert len({r.task.task_id for r in rollouts[:4]}) == len({r.task.task_id for r in rollouts[4:]}) == 1
    assert {r.task.task_id for r in rollouts}.isdisjoint({"t-0", "t-1"})


def test_resampling_needs_whole_groups_in_a_process(make_trainer: Make) -> None:
    trainer = make_trainer(resample_rounds=1)
    trainer.num_generations = 3  # as where two processes share a group
    with pytest.raises(UsageError, match="resample_rounds: a process plays 8 dialogues"):
        trainer._check_groups()


def test_rewards_that_never_differ_are_warned_of_early_and_once(make_trainer: Make) -> None:
    """After three batches where there has been no reward yet, later after ten in a row; what could teach is counted."""
    trainer = make_trainer(tasks=[_impossible(n) for n in range(3)], critique_coef=0.0)
    equal, different = [0.0] * 8, [0.0] * 7 + [1.0]

    def warned(batches: list[list[float]]) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for returns in batches:
                trainer._watch_rewards(returns)
        return [str(w.message) for w in caught if "reward:" in str(w.message)]

    assert warned([equal] * 2) == []
    (said,) = warned([equal] * 20)
    assert "last 3 batches" in said
    assert "solve nothing" in said
    assert trainer.rewarded_batches == 0
    assert warned([different, *[equal] * 9, different, *[equal] * 9]) == []
    assert trainer.rewarded_batches == 2
    (said,) = warned([[1.0] * 8] * 12)
    assert "all do the same" in said


def test_fewer_tasks_than_a_step_asks_are_refused(make_trainer: Make) -> None:
    """TRL's sampler would drop them, and the training would end at step 0."""
    with pytest.raises(UsageError, match=r"^train_dataset: 2 tasks per step, and there are 1: no step could be made"):
        make_trainer(tasks=[_impossible(1)])
    make_trainer(tasks=[_impossible(1), _impossible(2)])


# -- what stops a run --------------------------------------------------------------------------------------------------


def test_numbers_that_run_over_stop_the_run_in_one_line(
    make_trainer: Make, scored_batch: Make, judged_by_length: str
) -> None:
    """In the loss, and where attempts are to be drawn from weights that are no numbers."""
    trainer = make_trainer(judged_by_length)
    batch = scored_batch(trainer)
    with torch.no_grad():
        trainer.model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(RL2FError, match=r"^loss: nan at step 0: .* lower learning_rate[^\n]*$"):
        trainer.compute_loss(trainer.model, batch)
    with pytest.raises(RL2FError, match=r"^loss: .* at step 0.*lower learning_rate[^\n]*$"):
        trainer.train()


def test_a_gradient_that_is_no_number_stops_before_the_update(make_trainer: Make, judged_by_length: str) -> None:
    from rl2f_hub.training.callbacks import FiniteUpdates

    trainer = make_trainer(judged_by_length, critique_coef=0.0)
    trainer.add_callback(FiniteUpdates())
    original = trainer.compute_loss
    # The value is a number and its slope is not: sqrt at 0.
    trainer.compute_loss = lambda m, i, **k: original(m, i, **k) + (weights_sum(trainer.model) * 0).sqrt() * 0
    before = weights(trainer.model)
    with pytest.raises(RL2FError, match="the gradient of step 1 is not a number"):
        trainer.train()
    assert torch.equal(weights(trainer.model), before)


def weights_sum(model: Any) -> torch.Tensor:
    return sum((p.sum() for p in model.parameters()), torch.zeros(()))


def test_a_checkpoint_of_other_dialogues_or_tasks_is_refused(
    make_trainer: Make, judged_by_length: str, tmp_path: Path
) -> None:
    save = {"save_strategy": "steps", "save_steps": 1, "max_steps": 1}
    made = make_trainer(judged_by_length, output_dir=str(tmp_path / "made"), **save)
    made.train()
    checkpoint = tmp_path / "made" / "checkpoint-1"
    for options, message in (
        ({"max_turns": 2}, "made with max_turns 3, this run has 2"),
        ({"credit": "turn"}, "made with credit 'dialogue', this run has 'turn'"),
        ({"tasks": [_impossible(1), _impossible(2)]}, "made with tasks "),
    ):
        other = make_trainer(judged_by_length, **options, max_steps=2)
        with pytest.raises(UsageError, match=message):
            other.train(resume_from_checkpoint=str(checkpoint))
    state = json.loads((checkpoint / "rl2f_state.json").read_text())
    (checkpoint / "rl2f_state.json").write_text("{")
    with pytest.raises(RL2FError, match="cannot be read"):
        make_trainer(judged_by_length, max_steps=2).train(resume_from_checkpoint=str(checkpoint))
    (checkpoint / "rl2f_state.json").unlink()
    with pytest.raises(UsageError, match="not a checkpoint of RL2FTrainer"):
        make_trainer(judged_by_length, max_steps=2).train(resume_from_checkpoint=str(checkpoint))
    assert state["owner"]["max_turns"] == 3


def test_models_and_groups_that_cannot_work_are_refused_before_training(
    make_trainer: Make, make_model: Make, tokenizer: Any, make_task: Make, tmp_path: Path
) -> None:
    from datasets import Dataset
    from peft import LoraConfig

    with pytest.raises(
        UsageError, match=r"^generation_batch_size \(6\) must be divisible by num_generations \(4\); [^\n]*$"
    ):
        make_trainer(per_device_train_batch_size=6)
    with pytest.raises(UsageError, match=r"^peft_config: [^\n]*lm_head[^\n]*$"):
        make_trainer(peft_config=LoraConfig(**{**LORA, "target_modules": ["lm_head", "q_proj"]}))
    with pytest.raises(UsageError, match=r"^peft_config: [^\n]*nonsense[^\n]*not found in the base model[^\n]*$"):
        make_trainer(peft_config=LoraConfig(**{**LORA, "target_modules": ["nonsense"]}))
    rows = Dataset.from_list([make_task(1).to_row()])
    settings = {"output_dir": str(tmp_path), "use_cpu": True, "bf16": False, "report_to": "none"}
    args = RL2FConfig(per_device_train_batch_size=4, num_generations=4, turn_tokens=4, **settings)
    mute = copy.deepcopy(tokenizer)
    mute.chat_template = None
    with pytest.raises(RL2FError, match="no chat template"):
        RL2FTrainer(make_model(), args, rows, processing_class=mute)
    forgetful = copy.deepcopy(tokenizer)
    forgetful.chat_template = "{{ messages[-1]['content'] }}"
    with pytest.raises(RL2FError, match="append-only"):
        RL2FTrainer(make_model(), args, rows, processing_class=forgetful)
    with pytest.raises(UsageError, match="train_dataset: there is no task"):
        RL2FTrainer(make_model(), args, rows.select([]), processing_class=copy.deepcopy(tokenizer))
    unpadded = copy.deepcopy(tokenizer)
    unpadded.pad_token = None
    trainer = RL2FTrainer(make_model(), args, rows, processing_class=unpadded)
    assert trainer._tokenizer.pad_token_id is not None


def test_four_bits_without_bitsandbytes_are_refused_before_anything_is_loaded(
    make_task: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a recipe and in Python; the model that is named does not exist, and nobody gets as far as looking for it."""
    import importlib.util

    from datasets import Dataset
    from transformers import BitsAndBytesConfig

    from rl2f_hub.pipeline import run_stages
    from rl2f_hub.recipe import load_recipe
    from rl2f_hub.runs import Run

    found, quantized = importlib.util.find_spec, BitsAndBytesConfig(load_in_4bit=True)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "bitsandbytes" else found(name, *a)
    )
    changes = ["hub.endpoint=local", "model.quantization=nf4", "model.id=no/model", "model.wheel=null"]
    run = Run.open(load_recipe("smollm2-135m-cpu", changes), tmp_path / "run")
    with pytest.raises(UsageError, match=r"^model.quantization: nf4 needs bitsandbytes[^\n]*pip install[^\n]*$"):
        run_stages(run, ("generate",))
    assert not (tmp_path / "hub").exists()
    args = RL2FConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none")
    rows = Dataset.from_list([make_task(1).to_row()])
    with pytest.raises(UsageError, match=r"^quantization_config: BitsAndBytesConfig needs bitsandbytes"):
        RL2FTrainer("no/model", args, rows, quantization_config=quantized)


# -- what a program hands over -----------------------------------------------------------------------------------------


def test_rows_of_prompt_and_reference_are_tasks(make_trainer: Make, make_model: Make, tokenizer: Any) -> None:
    """As dicts or a data set, with a text or TRL's one message as the prompt; the first such attempt that is right earns."""
    from datasets import Dataset

    args = make_trainer().args
    rows = [{"prompt": "2 + 2", "reference": "4"}, {"prompt": [{"role": "user", "content": "3 + 3"}], "reference": "6"}]
    for given in (
        rows,
        Dataset.from_list([{"prompt": "2 + 2", "reference": "4"}, {"prompt": "3 + 3", "reference": "6"}]),
    ):
        trainer = RL2FTrainer(make_model(), args, given, eval_dataset=given, processing_class=copy.deepcopy(tokenizer))
        assert [(t.prompt, t.privilege.reference, t.verifier) for t in trainer.training_tasks] == [
            ("2 + 2", "4", "text"),
            ("3 + 3", "6", "text"),
        ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"prompt": "2 + 2"}], r"train_dataset\[0\]: no column 'reference'"),
        ([{"prompt": "2 + 2", "reference": 4}], r"train_dataset\[0\]\.reference: int where a text is needed"),
        ([{"prompt": "2", "reference": "4", "verifier": len}], r"\.verifier: builtin_function_or_method where a text"),
    ],
)
def test_rows_that_are_no_tasks_are_refused_in_one_line(
    make_trainer: Make, make_model: Make, rows: Any, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        RL2FTrainer(make_model(), make_trainer().args, rows)


@pytest.mark.parametrize(
    "name", ["tools", "environment_factory", "reward_funcs", "reward_processing_classes", "rollout_func"]
)
def test_arguments_that_would_have_no_effect_are_refused(make_trainer: Make, make_model: Make, name: str) -> None:
    args = RL2FConfig(output_dir="unused", use_cpu=True, bf16=False)
    with pytest.raises(UsageError, match=rf"^{name}: has no effect in RL2FTrainer: [^\n]*$"):
        RL2FTrainer(make_model(), args, [{"prompt": "2 + 2", "reference": "4"}], **{name: [len]})
    with pytest.raises(UsageError, match=r"no argument 'peft_confg'; did you mean 'peft_config'\?"):
        RL2FTrainer(make_model(), args, [{"prompt": "2 + 2", "reference": "4"}], peft_confg=None)


def test_functions_are_teacher_and_verifier(make_trainer: Make, make_model: Make, tokenizer: Any) -> None:
    """A request gives a text, and a task with an attempt whether it is right."""
    rows = [{"prompt": f"Say {n}", "reference": str(n)} for n in range(2)]
    asked: list[str] = []

    def answer(request: Any) -> str:
        asked.append(request.question)
        return "No, longer."

    trainer = RL2FTrainer(
        make_model(),
        make_trainer(max_steps=1).args,
        rows,
        teacher=answer,
        verifier=lambda task, attempt: len(attempt) % 3 == 0,
        processing_class=copy.deepcopy(tokenizer),
    )
    trainer.train()
    assert set(asked) <= {"Say 0", "Say 1"}
    assert asked
    (entry,) = (e for e in trainer.state.log_history if "accuracy/turn_3" in e)
    assert 0 < entry["accuracy/turn_3"] <= 1
    with pytest.raises(UsageError, match=r"^teacher: int is none; [^\n]*$"):
        RL2FTrainer(make_model(), make_trainer().args, rows, teacher=5, processing_class=copy.deepcopy(tokenizer))
