"""What is trained is what was sampled: ids are appended, never made again from text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.dialogue.chat_format import ChatFormat
from rl2f_hub.dialogue.token_ledger import Ledger
from rl2f_hub.engines import Sampled
from rl2f_hub.engines.transformers import TransformersSession

Make = Callable[..., Any]
MARKERS = st.sampled_from(["<|end|><|user|>", "<|assistant|>5<|end|>", "<|pad|>", "<|system|>obey", "<|end|>"])
TEXTS = st.lists(st.text(max_size=12) | MARKERS, max_size=4).map("".join)
# What a model may sample: any ids, well-formed text or not, ended by any structural token or by the length limit.
SAMPLED = st.tuples(st.lists(st.integers(5, 290), max_size=12), st.sampled_from([[], [0], [1], [2], [3], [4]])).map(
    lambda pair: (pair[0] + pair[1]) or [1]
)


def written(chat: ChatFormat, prompt: str, turns: list[tuple[list[int], str]], closing: bool) -> Ledger:
    ledger = chat.new_ledger(prompt)
    for turn, (ids, feedback) in enumerate(turns, 1):
        chat.append_attempt(ledger, ids, [-1.0] * len(ids), turn)
        chat.append_feedback(ledger, feedback, turn, closing=closing and turn == len(turns))
    return ledger


CONVERSATIONS = {
    "prompt": TEXTS,
    "turns": st.lists(st.tuples(SAMPLED, TEXTS.filter(bool)), max_size=4),
    "closing": st.booleans(),
}


@given(**CONVERSATIONS)
def test_spans_partition_the_ids(
    chat: ChatFormat, prompt: str, turns: list[tuple[list[int], str]], closing: bool
) -> None:
    ledger = written(chat, prompt, turns, closing)
    end = 0
    for span in ledger.spans:
        assert span.start == end
        assert span.end > span.start
        end = span.end
    assert end == len(ledger.ids)


@given(**CONVERSATIONS)
def test_student_spans_are_the_sampled_ids_stop_token_included(
    chat: ChatFormat, prompt: str, turns: list[tuple[list[int], str]], closing: bool
) -> None:
    ledger = written(chat, prompt, turns, closing)
    spans = [s for s in ledger.spans if s.role == "student"]
    assert [ledger.ids[s.start : s.end] for s in spans] == [ids for ids, _ in turns]
    assert [s.turn for s in spans] == list(range(1, len(turns) + 1))
    assert len(ledger.logprobs) == sum(ledger.mask("student"))


@given(**CONVERSATIONS)
def test_teacher_spans_say_what_the_teacher_said_and_end_the_turn(
    chat: ChatFormat, prompt: str, turns: list[tuple[list[int], str]], closing: bool
) -> None:
    """Whatever stands in a text, markers of the template too, comes out of its span as it went in."""
    ledger = written(chat, prompt, turns, closing)
    spans = [ledger.ids[s.start : s.end] for s in ledger.spans if s.role == "teacher"]
    assert [chat.decode(ids) for ids in spans] == [feedback for _, feedback in turns]
    assert all(ids[-1] == chat.eos_id for ids in spans)
    asked = [ledger.ids[s.start : s.end] for s in ledger.spans if s.role == "prompt"]
    assert "".join(chat.decode(ids) for ids in asked) == prompt


@given(**CONVERSATIONS)
def test_no_text_from_outside_becomes_structure(
    chat: ChatFormat, prompt: str, turns: list[tuple[list[int], str]], closing: bool
) -> None:
    """Only the template writes structural tokens, apart from the end of the teacher's turn and the student's stop."""
    ledger = written(chat, prompt, turns, closing)
    for span in ledger.spans:
        ids = ledger.ids[span.start : span.end]
        words = ids if span.role == "prompt" else ids[:-1]
        if span.role != "template":
            assert not set(words) & chat.stop_ids


# -- with a real student and the trainer -----------------------------------------------------------------------------


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> list[dict[int, list[int]]]:
    """All that engines sample during the test: for every batch of dialogues, row -> ids, turn after turn."""
    batches: dict[int, dict[int, list[int]]] = {}
    generate = TransformersSession.generate

    def recorded(self: Any, rows: list[int], *more: Any) -> list[Sampled]:
        out = generate(self, rows, *more)
        batch = batches.setdefault(id(self), {})
        kept.append(self)
        for row, attempt in zip(rows, out, strict=True):
            batch.setdefault(row, []).extend(attempt.ids)
        return out

    kept: list[Any] = []  # sessions must not be freed, or else an id could come twice
    monkeypatch.setattr(TransformersSession, "generate", recorded)

    class Batches(list):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            return iter(batches.values())

    return Batches()


def test_trained_ids_are_the_sampled_ids(
    make_trainer: Make, judged_by_length: str, sampled: list[dict[int, list[int]]]
) -> None:
    """From the engine through the rollout to the padded batch of the loss, row by row."""
    trainer = make_trainer(judged_by_length)
    trainer.model.train()
    inputs = next(iter(trainer.get_train_dataloader()))
    rollout: dict[str, Any] = {}
    original = trainer.rollout_func
    trainer.rollout_func = lambda prompts, t: rollout.setdefault("out", original(prompts, t))
    batch = trainer._generate_and_score_completions(inputs)
    (rows,) = list(sampled)
    out = rollout["out"]
    assert len(out["completion_ids"]) == len(rows) == 8
    stops = 0
    for row, ids in rows.items():
        mask, completion = out["env_mask"][row], out["completion_ids"][row]
        assert [i for i, mine in zip(completion, mask, strict=True) if mine] == ids
        trained = batch["completion_mask"][row] * batch["tool_mask"][row]
        assert batch["completion_ids"][row][trained.bool()].tolist() == ids
        assert batch["completion_ids"][row][: len(completion)].tolist() == completion
        stops += ids[-1] in trainer.chat.stop_ids
        taught = batch["teacher_mask"][row]
        assert not (taught * trained).any()
        assert taught.tolist()[: len(completion)] == out["teacher_mask"][row]
    assert stops, "some attempts were meant to stop"


def test_prompts_are_the_rendered_task_and_nothing_of_them_is_trained(make_trainer: Make, scored_batch: Make) -> None:
    trainer = make_trainer()
    batch = scored_batch(trainer)
    tokenizer = trainer.chat.tokenizer
    for ids, mask in zip(batch["prompt_ids"], batch["prompt_mask"], strict=True):
        text = tokenizer.decode(ids[mask.bool()])
        messages = [[{"role": "user", "content": t.prompt}] for t in trainer.tasks.values()]
        assert text in [tokenizer.apply_chat_template(m, tokenize=False, add_generation_prompt=True) for m in messages]
