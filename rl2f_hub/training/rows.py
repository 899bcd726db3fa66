"""Training rows: recorded dialogues as ids and labels, for every phase that learns from dialogues of others.

The ledger writes all of them, so that equal dialogues have equal ids in the warm-up, the SFT and DPO baselines, the
critique phase and RL. TRL is given ids: it renders, cuts and drops nothing. A row of more ids than the model reads is
left out whole, counted and named (`whole`).

Left out: SDPO's prompts, which TRL's trainer renders itself around the attempts that it samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from rl2f_hub.dialogue.chat_format import ChatFormat
from rl2f_hub.dialogue.runner import CLOSING_WORDS
from rl2f_hub.dialogue.token_ledger import Ledger
from rl2f_hub.errors import RL2FError
from rl2f_hub.records import Dialogue, Turn
from rl2f_hub.training.checks import tell

IGNORED = -100  # a label that is not learnt, in the convention of transformers
NAMED = 3  # rows that a message names


class Row(NamedTuple):
    """A training row: what names it, the ids of its longest sequence, and the columns that a trainer reads."""

    name: str
    length: int
    columns: dict[str, Any]


class Attempt(NamedTuple):
    """A recorded attempt at turn `number` in ids: `context` is what it was made from, `ids` what was sampled."""

    number: int
    turn: Turn
    context: list[int]
    ids: list[int]


def attempts(chat: ChatFormat, dialogue: Dialogue) -> Iterator[Attempt]:
    """The attempts of a dialogue, each in the context that RL would have it in.

    After a turn without feedback the question is asked afresh (the teacher `none`). With `thinking: strip` a context is
    without the thinking of earlier attempts.
    """
    ledger = chat.open(dialogue.prompt)
    for number, turn in enumerate(dialogue.turns, start=1):
        ids = _sampled(chat, turn)
        yield Attempt(number, turn, list(ledger.ids), ids)
        chat.attempt(ledger, ids, [], number)
        if turn.feedback is None:
            ledger = chat.open(dialogue.prompt)
        elif number < len(dialogue.turns):
            chat.feedback(ledger, turn.feedback.text, number)
            ledger = chat.retold(ledger) if chat.thinking == "strip" else ledger


def written(chat: ChatFormat, dialogue: Dialogue) -> Ledger:
    """A whole dialogue as one ledger, with the closing word on a right attempt that ends it."""
    ledger = chat.open(dialogue.prompt)
    for number, turn in enumerate(dialogue.turns, start=1):
        chat.attempt(ledger, _sampled(chat, turn), [], number)
        last = number == len(dialogue.turns)
        if turn.feedback is not None:
            chat.feedback(ledger, turn.feedback.text, number, closing=last)
        elif last and turn.verdict.correct:
            chat.feedback(ledger, CLOSING_WORDS, number, closing=True)
    return ledger


def _sampled(chat: ChatFormat, turn: Turn) -> list[int]:
    """The ids of a recorded attempt: one that was not cut ended itself."""
    ids = chat.encode_attempt(turn.attempt)
    return ids if turn.cut else [*ids, chat.eos_id]


def sft_rows(chat: ChatFormat, dialogues: Iterable[Dialogue], solved: bool = False) -> Iterator[Row]:
    """{input_ids, labels} for each attempt, or for the right ones alone (`solved`): the attempt is learnt in its context."""
    for dialogue in dialogues:
        for number, turn, context, ids in attempts(chat, dialogue):
            if ids and (turn.verdict.correct or not solved):
                whole = np.asarray(context + ids, np.int32)
                labels = whole.copy()
                labels[: len(context)] = IGNORED
                yield Row(f"{dialogue.dialogue_id} turn {number}", len(whole), {"input_ids": whole, "labels": labels})


def critique_rows(chat: ChatFormat, dialogues: Iterable[Dialogue]) -> Iterator[Row]:
    """{input_ids, labels} for each dialogue in which the teacher spoke: its words, and what ends them, are learnt."""
    for dialogue in dialogues:
        ledger = written(chat, dialogue)
        mask = np.asarray(ledger.mask("teacher"), bool)
        if mask.any():
            ids = np.asarray(ledger.ids, np.int32)
            columns = {"input_ids": ids, "labels": np.where(mask, ids, IGNORED).astype(np.int32)}
            yield Row(dialogue.dialogue_id, len(ids), columns)


def preference_rows(chat: ChatFormat, dialogues: Iterable[Dialogue]) -> Iterator[Row]:
    """{prompt_ids, chosen_ids, rejected_ids} for each turn that heeds feedback.

    A turn does where the attempt before it was wrong and its own is right, or scores higher. The rejected completion is
    the attempt before it, word for word.
    """
    for dialogue in dialogues:
        before: Attempt | None = None
        for attempt in attempts(chat, dialogue):
            now, then = attempt.turn, before and before.turn
            if before is not None and then is not None and then.feedback is not None and not then.verdict.correct:
                better = now.verdict.correct or now.verdict.score > then.verdict.score
                if better and now.attempt != then.attempt:
                    ids = {"prompt_ids": attempt.context, "chosen_ids": attempt.ids, "rejected_ids": before.ids}
                    length = len(attempt.context) + max(len(attempt.ids), len(before.ids))
                    columns = {name: np.asarray(value, np.int32) for name, value in ids.items()}
                    yield Row(f"{dialogue.dialogue_id} turn {attempt.number}", length, columns)
            before = attempt


def whole(rows: Iterable[Row], longest: int, label: str, fix: str) -> tuple[Any, int]:
    """(data set of the rows of at most `longest` ids, number of the others). The others are named on the terminal.

    Args:
        longest: ids that the model reads.
        label: the phase that learns from the rows.
        fix: what makes rows shorter.
    Raises:
        RL2FError: no row fits.
    """
    from datasets import Dataset

    kept, left_out = [], []
    for row in rows:
        if row.length <= longest:
            kept.append(row.columns)
        else:
            left_out.append(f"{row.name} ({row.length} tokens)")
    if left_out:
        more = f" and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
        said = (
            f"{label}: {len(left_out)} of {len(kept) + len(left_out)} rows are longer than the {longest} tokens that the "
            f"model reads: {', '.join(left_out[:NAMED])}{more}"
        )
        if not kept:
            raise RL2FError(f"{said}; {fix}")
        tell(f"{said}; they are left out; {fix}")
    return Dataset.from_list(kept), len(left_out)


def repeated(rows: Any, prompts: int) -> Any:
    """A data set with at least as many rows as a step has prompts: TRL makes no step of fewer.

    A step of a baseline that samples as many tokens as RL2F may have more prompts than there are tasks: it then asks
    some of them more than once, each for a group of its own.
    """
    from datasets import concatenate_datasets

    times = -(-prompts // max(len(rows), 1))
    return rows if times <= 1 else concatenate_datasets([rows] * times)
