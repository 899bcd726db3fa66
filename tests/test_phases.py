"""Phases and baselines: what each one learns from, adapters that chain and stack, and one run through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.records import Dialogue, Feedback, StopReason, Turn, Verdict
from rl2f_hub.students.load import Origin
from rl2f_hub.training.baselines.sdpo import hint_of
from rl2f_hub.training.baselines.sft import last_attempts
from rl2f_hub.training.phase import check_base, stack_adapters
from rl2f_hub.training.rows import critique_rows, preference_rows, written
from tests.e2e import shrunken

Make = Callable[..., Any]
LORA = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}


def dialogue(*turns: tuple[str, bool, str | None], score: float = 0.0) -> Dialogue:
    """A dialogue of (attempt, right, feedback); wrong attempts after the first score `score`."""
    made = []
    for n, (text, right, said) in enumerate(turns):
        verdict = Verdict(right, 1.0 if right else (score if n else 0.0), text, "told")
        made.append(Turn(text, verdict, Feedback(said, "told") if said else None))
    end = StopReason.SOLVED if turns[-1][1] else StopReason.TURN_LIMIT
    return Dialogue("d", "t", "What is 2 * 3?", tuple(made), end, "s", "scripted", "answer")


def said(chat: Any, ids: Any) -> str:
    return str(chat.decode([int(i) for i in ids]))


def test_dpo_prefers_an_attempt_that_heeded_feedback_to_the_one_before(chat: Any) -> None:
    (pair,) = preference_rows(chat, [dialogue(("5", False, "Too low."), ("6", True, None))])
    assert said(chat, pair.columns["prompt_ids"]) == "What is 2 * 3?5Too low."
    assert pair.columns["chosen_ids"].tolist() == [*chat.encode("6"), chat.eos_id]
    assert pair.columns["rejected_ids"].tolist() == [*chat.encode("5"), chat.eos_id]


@pytest.mark.parametrize(
    "turns",
    [
        (("6", True, None),),
        (("5", False, "No."), ("5", False, "No.")),
        (("5", False, "No."), ("4", False, None)),
        (("5", False, None), ("6", True, None)),
        (("6", True, "Are you sure?"), ("6", True, None)),
    ],
    ids=["right at once", "repeated", "no better", "no feedback", "held"],
)
def test_dpo_makes_no_pair_of_what_teaches_nothing(chat: Any, turns: Any) -> None:
    assert list(preference_rows(chat, [dialogue(*turns)])) == []


def test_dpo_also_takes_a_better_score(chat: Any) -> None:
    assert len(list(preference_rows(chat, [dialogue(("5", False, "No."), ("4", False, None), score=0.5)]))) == 1


def test_rejection_sampling_learns_the_attempt_that_solved_in_its_context(chat: Any) -> None:
    (row,) = last_attempts(chat, [dialogue(("5", False, "Too low."), ("6", True, None))])
    assert said(chat, row.columns["input_ids"]) == "What is 2 * 3?5Too low.6"
    assert row.columns["labels"].tolist()[-2:] == [*chat.encode("6"), chat.eos_id]
    assert sum(row.columns["labels"] != -100) == 2


def test_self_distillation_is_told_the_answered_first_attempt() -> None:
    row = hint_of(dialogue(("5", False, "Too low."), ("6", True, None)))
    assert row is not None
    assert row["prompt"] == [{"role": "user", "content": "What is 2 * 3?"}]
    assert row["privileged_context"] == "5\n\nToo low."
    assert hint_of(dialogue(("6", True, None))) is None
    assert hint_of(dialogue(("5", False, None))) is None


def test_a_critique_phase_learns_what_the_joint_term_learns(chat: Any) -> None:
    """The teacher's words with what ends them, the closing one too, and no other token; silent dialogues give no row."""
    silent = dialogue(("5", False, None))
    played = [dialogue(("5", False, "Too low."), ("6", True, None)), dialogue(("6", True, None)), silent]
    made = [row.columns for row in critique_rows(chat, played)]
    low, closing = [*chat.encode("Too low."), chat.eos_id], [*chat.encode("Correct."), chat.eos_id]
    assert [[i for i in row["labels"] if i != -100] for row in made] == [low + closing, closing]
    for row in made:
        assert all(label in (-100, i) for label, i in zip(row["labels"], row["input_ids"], strict=True))


def test_a_recorded_dialogue_is_written_as_it_was_played(saying: Make, products: list[Any], chat: Any) -> None:
    """The same ids as in the rollout's own ledger, solved or not."""
    from rl2f_hub.dialogue.runner import run_dialogues
    from rl2f_hub.engines import Sampling
    from rl2f_hub.teachers.guard import Guard
    from rl2f_hub.teachers.scripted import ScriptedTeacher

    student = saying(["7", "102", "why?"])
    rollouts = run_dialogues(
        products, student, ScriptedTeacher(), guard=Guard(), max_turns=3, sampling=Sampling(1.0, 1.0, 6), seed=0
    )
    assert {r.stop_reason for r in rollouts} == {StopReason.SOLVED, StopReason.TURN_LIMIT}
    for rollout in rollouts:
        assert written(chat, rollout.dialogue("s", "t", Sampling())).ids == rollout.ledger.ids


# -- adapters ----------------------------------------------------------------------------------------------------------


def test_a_stacked_adapter_does_what_the_two_do_together(make_model: Make, tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    ids = torch.arange(5, 25)[None]
    for n, options in enumerate(({}, {"r": 2, "lora_alpha": 6, "target_modules": ["q_proj", "up_proj"]})):
        model = get_peft_model(make_model(), LoraConfig(**{**LORA, **options}))
        generator = torch.Generator().manual_seed(n)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        model.save_pretrained(str(tmp_path / str(n)))
    merged = make_model()
    for n in ("0", "1"):
        merged = PeftModel.from_pretrained(merged, str(tmp_path / n)).merge_and_unload()
    stack_adapters(tmp_path / "0", tmp_path / "1", tmp_path / "both")
    stacked = PeftModel.from_pretrained(make_model(), str(tmp_path / "both"))
    assert stacked.peft_config["default"].r == 6
    with torch.no_grad():
        expected, found, plain = merged(ids).logits, stacked(ids).logits, make_model()(ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert (expected - plain).abs().max() > 0.1


def test_adapters_of_another_base_and_folders_without_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "me/base", "revision": "aaa", "peft_type": "LORA", "use_dora": True})
    )
    (tmp_path / "adapter_model.safetensors").touch()
    check_base(tmp_path, Origin("me/base", "aaa"))
    check_base(tmp_path, Origin("me/base"))
    with pytest.raises(UsageError, match="trained on 'me/base', this run's base is 'you/base'"):
        check_base(tmp_path, Origin("you/base"))
    with pytest.raises(UsageError, match="trained on 'me/base' at aaa, this run's base is 'me/base' at bbb"):
        check_base(tmp_path, Origin("me/base", "bbb"))
    with pytest.raises(RL2FError, match="no adapter there"):
        check_base(tmp_path / "nowhere", Origin("me/base"))


# -- through the command line ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shrunken run with every baseline that is not RL, a critique phase after RL, and a stacked adapter."""
    out = tmp_path_factory.mktemp("phases") / "run"
    done = shrunken.run(
        out,
        "--only=base,generate,publish,warmup,train",
        changes={
            "model.scratch.steps": 60,
            "dialogue.max_turns": 3,
            "train.steps": 2,
            "train.baselines": "[shuffled_rl, sft, rejection_sft, dpo, sdpo]",
            "train.critique": "separate",
            "train.critique_phase.steps": 2,
            "train.credit": "turn",
            "train.adapter": "stack",
            "train.resample_rounds": 1,
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def test_every_baseline_and_phase_leaves_an_adapter_of_the_same_base(finished: Path) -> None:
    names = ["rl2f", "before_critique", "critique", "shuffled_rl", "sft", "rejection_sft", "dpo", "sdpo"]
    configs = {n: json.loads((finished / "train" / n / "adapter" / "adapter_config.json").read_text()) for n in names}
    assert len({config["base_model_name_or_path"] for config in configs.values()}) == 1
    warm = json.loads((finished / "warmup" / "adapter" / "adapter_config.json").read_text())
    assert {n: config["r"] // warm["r"] for n, config in configs.items()} == {
        n: 2 if n in ("rl2f", "before_critique", "critique", "shuffled_rl") else 1 for n in names
    }
    outputs = json.loads((finished / "manifest.json").read_text())["stages"]["train"]["outputs"]
    assert set(outputs) == {"rl2f", "shuffled_rl", "sft", "rejection_sft", "dpo", "sdpo"}
    assert outputs["rl2f"]["critique"]["rows"] > 0
    assert outputs["shuffled_rl"]["teacher"]["name"] == "shuffled"
    assert outputs["sft"]["rows"] > 0
    assert (finished / "train" / "rl2f" / "adapter" / "adapter_model.safetensors").read_bytes() == (
        finished / "train" / "critique" / "adapter" / "adapter_model.safetensors"
    ).read_bytes()


def test_what_was_learnt_differs_from_the_start(finished: Path) -> None:
    from safetensors.torch import load_file

    warm = load_file(str(finished / "warmup" / "adapter" / "adapter_model.safetensors"))
    for name in ("sft", "sdpo"):
        own = load_file(str(finished / "train" / name / "adapter" / "adapter_model.safetensors"))
        assert any(not torch.equal(own[key], warm[key]) for key in warm), name


def test_the_warmup_goes_on_from_an_adapter_that_is_given(finished: Path, tmp_path: Path) -> None:
    """`warmup.start`, through the command line: without an update the adapter is the one given, to the bit."""
    import shutil

    from safetensors.torch import load_file

    shutil.copytree(
        finished.parent / "hub", tmp_path / "hub", ignore=shutil.ignore_patterns("server.*", "leases", "locks")
    )
    start = finished / "warmup" / "adapter"
    base = json.loads((start / "adapter_config.json").read_text())["base_model_name_or_path"]
    changes: dict[str, object] = {
        "model.scratch": "null",
        "model.id": base,
        "hub.base": "null",
        "hub.dataset": "of-another-run",
        "warmup.start": str(start),
        "warmup.steps": 0,
        "tasks.ood": "[]",
        **{f"tasks.train.{i}.count": 2 for i in range(4)},
    }
    done = shrunken.run(tmp_path / "run", "--only=base,generate,publish,warmup", changes=changes)
    assert done.returncode == 0, done.stderr[-3000:]
    given, kept = (load_file(str(f / "adapter_model.safetensors")) for f in (start, tmp_path / "run/warmup/adapter"))
    assert given.keys() == kept.keys()
    assert all(torch.equal(given[key], kept[key]) for key in given)
