"""Training rows: equal dialogues have equal ids wherever they are learnt, and every row comes whole or is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recorded_run import recorded
from test_templates import FAMILIES, THINKERS

from rl2f_hub.dialogue.chat_format import ChatFormat
from rl2f_hub.dialogue.runner import run_dialogues
from rl2f_hub.engines import Sampling
from rl2f_hub.errors import RL2FError
from rl2f_hub.publish import schema
from rl2f_hub.records import Dialogue, Feedback, Privilege, StopReason, Task, Turn, Verdict
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.teachers.scripted import ScriptedTeacher
from rl2f_hub.training.rows import critique_rows, preference_rows, sft_rows, whole, written

Make = Callable[..., Any]
SIX = ["chatml", "llama3", "gemma", "qwen3", "qwen3 opens thinking", "mistral v7"]


def dialogue(*attempts: tuple[str, bool], name: str = "d", cut: tuple[int, ...] = ()) -> Dialogue:
    """Wrong attempts are told so; those whose turn is in `cut` did not end themselves."""
    turns = [
        Turn(text, Verdict(right, float(right), text, ""), None if right else Feedback("Too low.", "value"), n in cut)
        for n, (text, right) in enumerate(attempts, start=1)
    ]
    end = StopReason.SOLVED if attempts[-1][1] else StopReason.TURN_LIMIT
    return Dialogue(name, "t", "What is 2 * 3?", tuple(turns), end, "s", "scripted", "answer")


def texts(chat: ChatFormat, ids: Any) -> str:
    return chat._read([int(i) for i in ids])


# -- one renderer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIX)
def test_equal_dialogues_have_equal_ids_in_rl_sft_dpo_and_critique(name: str, saying: Make) -> None:
    """What RL played is recorded, and every kind of training row made of the record holds the ids that RL had."""
    thinks = name in THINKERS
    chat = ChatFormat(FAMILIES[name](), "keep" if thinks else None)
    opened = thinks and chat._thinks_from_start
    thought = "" if not thinks else ("" if opened else "<think>\n") + "perhaps \n</think>\n\n"
    student = saying([f"{thought}5", f"{thought} 7 <|im_end|>", f"{thought}6"], chat=chat)
    task = Task("t", "s", "d", "What is 2 * 3?", Privilege("answer", "6"), "integer")
    (rollout,) = run_dialogues(
        [task], student, ScriptedTeacher(), guard=Guard(), max_turns=4, sampling=Sampling(1.0, 1.0, 6), seed=0
    )
    assert rollout.stop_reason is StopReason.SOLVED
    played, record = rollout.ledger, Dialogue.from_row(rollout.dialogue("s", "t", Sampling()).to_row())
    assert written(chat, record).ids == played.ids
    ends = [span.end for span in played.spans if span.role == "student"]
    starts = [span.start for span in played.spans if span.role == "student"]
    rows = [row.columns for row in sft_rows(chat, [record])]
    assert [row["input_ids"].tolist() for row in rows] == [played.ids[:end] for end in ends]
    for row, start, end in zip(rows, starts, ends, strict=True):
        assert row["labels"].tolist() == [-100] * start + played.ids[start:end]
    (pair,) = [row.columns for row in preference_rows(chat, [record])]
    assert pair["prompt_ids"].tolist() == played.ids[: starts[2]]
    assert pair["chosen_ids"].tolist() == played.ids[starts[2] : ends[2]]
    assert pair["rejected_ids"].tolist() == played.ids[starts[1] : ends[1]]
    (critique,) = [row.columns for row in critique_rows(chat, [record])]
    assert critique["input_ids"].tolist() == played.ids
    assert [int(i != -100) for i in critique["labels"]] == played.mask("teacher")


def test_an_attempt_that_was_cut_is_not_taught_to_end(chat: ChatFormat) -> None:
    whole_row, cut = (next(sft_rows(chat, [dialogue(("5", False), ("6", True), cut=c)])).columns for c in ((), (1,)))
    assert whole_row["input_ids"].tolist() == [*cut["input_ids"].tolist(), chat.eos_id]


def test_stripped_thinking_is_not_in_the_context_of_later_attempts() -> None:
    chat = ChatFormat(FAMILIES["qwen3"](), "strip")
    first, second = sft_rows(
        chat, [dialogue(("<think>\nhm\n</think>\n\n5", False), ("<think>\nah\n</think>\n\n6", True))]
    )
    assert "hm" in texts(chat, first.columns["input_ids"])
    assert "hm" not in texts(chat, second.columns["input_ids"])
    assert "ah" in texts(chat, second.columns["input_ids"])


def test_after_a_turn_without_feedback_the_question_is_asked_afresh(chat: ChatFormat) -> None:
    turns = tuple(Turn(t, Verdict(False, 0.0, t, "")) for t in ("4", "5"))
    record = Dialogue("d", "t", "Why?", turns, StopReason.TURN_LIMIT, "s", "none", "answer")
    rows = list(sft_rows(chat, [record]))
    contexts = [
        [i for i, k in zip(r.columns["input_ids"], r.columns["labels"], strict=True) if k == -100] for r in rows
    ]
    assert contexts[0] == contexts[1] == chat.open("Why?").ids
    published = schema.sft_rows(record.to_row())
    assert [row["prompt"] for row in published] == [[{"role": "user", "content": "Why?"}]] * 2


# -- whole or named ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run_of(tmp_path: Path, make_model: Make, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A run on a tiny base in a folder, which reads `context` ids; its published dialogues are those given."""
    from rl2f_hub.training import warmup

    def make(dialogues: list[Dialogue], context: int) -> Any:
        folder = tmp_path / "model"
        make_model(context=context).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        run = recorded(tmp_path / "run", [])
        model = run.recipe.model.model_copy(update={"id": str(folder), "scratch": None})
        run.recipe = run.recipe.model_copy(update={"model": model})
        run.manifest["stages"]["base"]["outputs"] = {}
        monkeypatch.setattr(warmup, "published", lambda run, config: [d.to_row() for d in dialogues])
        return run

    return make


ATTEMPTS = (("1 " * 150, False), ("2 " * 150, False), ("3 " * 150, False), ("6 " * 150, True))
LONG = [dialogue(*ATTEMPTS, name=f"d{n}") for n in range(4)]


def test_long_rows_reach_the_trainers_whole(run_of: Make) -> None:
    """Four dialogues of four turns with attempts of 300 tokens: TRL's default of 1024 would lose every fourth turn."""
    from peft import LoraConfig, get_peft_model

    from rl2f_hub.training import warmup
    from rl2f_hub.training.baselines import dpo

    run = run_of(LONG, 4096)
    chat = warmup.chat_of(run)
    for solved, count in ((False, 16), (True, 4)):
        made = list(sft_rows(chat, LONG, solved))
        trainer, left_out = warmup.sft_trainer(run, ("warmup",), made, "warmup", 1, 2, 1e-3, None)
        assert (len(trainer.train_dataset), left_out) == (count, 0)
        assert max(row.length for row in made) > 1200
        learnt = [sum(i != -100 for i in row["labels"]) for row in trainer.train_dataset]
        assert learnt == [301] * count
    critique, _ = warmup.sft_trainer(run, ("train", "c"), critique_rows(chat, LONG), "critique", 1, 2, 1e-3, None)
    said = sum(i != -100 for row in critique.train_dataset for i in row["labels"])
    assert said == sum(sum(written(chat, d).mask("teacher")) for d in LONG)
    start = run.path("warmup", "adapter")
    model = get_peft_model(
        trainer.model.get_base_model(), LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")
    )
    model.save_pretrained(str(start))
    pairs, left_out = dpo.dpo_trainer(run, ("train", "dpo"), preference_rows(chat, LONG), 1, start)
    assert (len(pairs.train_dataset), left_out) == (4, 0)
    batch = next(iter(pairs.get_train_dataloader()))
    assert batch["completion_mask"].sum(1).tolist() == [301] * len(batch["completion_mask"])
    assert batch["input_ids"].shape[1] > 1200


def test_rows_that_do_not_fit_are_counted_and_named_and_none_left_is_an_error(
    chat: ChatFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list(sft_rows(chat, LONG))
    data, left_out = whole(rows, 1024, "warm-up", "do less")
    assert (len(data), left_out) == (12, 4)
    assert max(len(row["input_ids"]) for row in data) <= 1024
    said = capsys.readouterr().err
    assert "note: warm-up: 4 of 16 rows are longer than the 1024 tokens" in said
    assert "d0 turn 4" in said
    assert "1 more" in said
    with pytest.raises(RL2FError, match=r"16 of 16 rows are longer than the 20 tokens .*; do less$"):
        whole(rows, 20, "warm-up", "do less")


def test_a_step_of_more_prompts_than_tasks_asks_some_twice() -> None:
    """The baselines that sample as many tokens as RL2F: TRL's sampler would make no step at all."""
    from datasets import Dataset
    from trl.trainer.utils import RepeatSampler

    from rl2f_hub.training.rows import repeated

    tasks = Dataset.from_list([{"n": n} for n in range(3)])
    assert len(RepeatSampler(tasks, 4, batch_size=5)) == 0
    assert len(RepeatSampler(repeated(tasks, 5), 4, batch_size=5)) == 20
    assert repeated(tasks, 3) is tasks
