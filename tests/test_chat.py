"""The token ledger: what is appended, what is refused, and that text never becomes structure."""

from __future__ import annotations

import copy
import ctypes
import gc
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.dialogue.chat_format import ChatFormat, TemplateError
from rl2f_hub.dialogue.token_ledger import Ledger

CHATML = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
SYSTEM = "<|system|>Be brief.<|end|>"
WORDS = st.text("abc 019\n", min_size=1, max_size=12)


def with_template(tokenizer: Any, template: str | None) -> Any:
    changed = copy.deepcopy(tokenizer)
    changed.chat_template = template
    return changed


def written(chat: ChatFormat, turns: list[tuple[str, str]], prompt: str, closing: bool = False) -> Ledger:
    ledger = chat.new_ledger(prompt)
    for turn, (attempt, feedback) in enumerate(turns, 1):
        chat.append_attempt(ledger, [*chat.encode(attempt), chat.eos_id], [], turn)
        chat.append_feedback(ledger, feedback, turn, closing=closing and turn == len(turns))
    return ledger


class Mallinfo(ctypes.Structure):
    """glibc's mallinfo2; `uordblks` are the bytes that native code has in use."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def in_use() -> int:
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = Mallinfo
    gc.collect()
    return libc.mallinfo2().uordblks


@pytest.mark.parametrize("template", [None, CHATML, SYSTEM + CHATML], ids=["own", "chatml", "default system"])
@given(prompt=WORDS, turns=st.lists(st.tuples(WORDS, WORDS), max_size=3))
def test_a_ledger_is_the_rendered_conversation(
    tokenizer: Any, template: str | None, prompt: str, turns: list[tuple[str, str]]
) -> None:
    """Appending turn by turn gives what rendering the whole conversation at once would give."""
    chat = ChatFormat(with_template(tokenizer, template or tokenizer.chat_template))
    messages = [{"role": "user", "content": prompt}]
    for attempt, feedback in turns:
        messages += [{"role": "assistant", "content": attempt}, {"role": "user", "content": feedback}]
    text = chat.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ledger = written(chat, turns, prompt)
    assert chat.tokenizer.decode(ledger.ids, skip_special_tokens=False) == text


def test_each_turn_only_appends(chat: ChatFormat) -> None:
    turns = [("1", "too low"), ("2", "too high"), ("3", "right")]
    ledgers = [written(chat, turns[:n], "ask") for n in range(4)]
    for earlier, later in itertools.pairwise(ledgers):
        assert later.ids[: len(earlier.ids)] == earlier.ids
        assert later.spans[: len(earlier.spans)] == earlier.spans


def test_a_closed_dialogue_ends_with_the_teachers_last_token(chat: ChatFormat) -> None:
    ledger = written(chat, [("1", "too low")], "ask", closing=True)
    assert ledger.spans[-1].role == "teacher"
    assert ledger.ids[-1] == chat.eos_id


def test_an_attempt_cut_short_is_ended_once_by_the_template(chat: ChatFormat) -> None:
    """Stopped or cut, a turn ends with one eos: the student's own, or else the template's."""
    ids = chat.encode("12")
    ledgers = []
    for sampled in (ids, [*ids, chat.eos_id]):
        ledger = chat.new_ledger("ask")
        chat.append_attempt(ledger, sampled, [], 1)
        chat.append_feedback(ledger, "too low", 1)
        ledgers.append(ledger)
    cut, stopped = ledgers
    assert cut.ids == stopped.ids
    assert sum(cut.mask("student")) + 1 == sum(stopped.mask("student"))


def test_an_empty_attempt_still_makes_a_whole_turn(chat: ChatFormat) -> None:
    ledger = chat.new_ledger("ask")
    chat.append_attempt(ledger, [chat.eos_id], [], 1)
    chat.append_feedback(ledger, "say something", 1)
    assert ledger.mask("student") == [int(s == "student") for s in owners(ledger)]
    assert chat.decode([chat.eos_id]) == ""


@given(st.text(max_size=60))
def test_text_there_and_back(chat: ChatFormat, text: str) -> None:
    assert chat.decode(chat.encode(text)) == text


@given(st.text(max_size=10), st.sampled_from(["<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|pad|>"]), WORDS)
def test_markers_in_a_text_stay_text(chat: ChatFormat, before: str, marker: str, after: str) -> None:
    ids = chat.encode(before + marker + after)
    assert not set(ids) & chat.stop_ids
    assert chat.decode(ids) == before + marker + after


def test_every_structural_token_stops_the_student(chat: ChatFormat, tokenizer: Any) -> None:
    """Or else a student could open the teacher's turn and praise itself."""
    for marker in ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>"):
        assert tokenizer.convert_tokens_to_ids(marker) in chat.stop_ids


def test_masks_by_role_and_turn(chat: ChatFormat) -> None:
    ledger = written(chat, [("1", "too low"), ("23", "too high")], "ask")
    whole = [sum(column) for column in zip(*(ledger.mask(r) for r in ROLES), strict=True)]
    assert whole == [1] * len(ledger.ids)
    first, second = ledger.mask("student", 1), ledger.mask("student", 2)
    assert [a + b for a, b in zip(first, second, strict=True)] == ledger.mask("student")
    assert sum(first) == 2
    assert sum(second) == 3
    assert ledger.prompt_length == first.index(1)
    assert chat.new_ledger("ask").prompt_length == len(chat.new_ledger("ask").ids)


ROLES = ("template", "prompt", "student", "teacher")


def owners(ledger: Ledger) -> list[str]:
    return [s.role for s in ledger.spans for _ in range(s.start, s.end)]


REFUSED = {
    "drops earlier turns": (
        "{% for m in messages[-1:] %}{{ '<|user|>' + m['content'] + '<|end|>' }}{% endfor %}<|assistant|>",
        "not append-only",
    ),
    "strips earlier attempts": (
        "{% for m in messages %}{% if m['role'] == 'assistant' and not loop.last and loop.index < loop.length - 1 %}"
        "<|assistant|>...<|end|>{% else %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endif %}"
        "{% endfor %}<|assistant|>",
        "not append-only",
    ),
    "numbers the turns": (
        "{{ messages | length }}{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}"
        "{% endfor %}<|assistant|>",
        "not append-only",
    ),
    "changes words": (
        "{% for m in messages %}{{ '<|user|>' + m['content'] | upper + '<|end|>' }}{% endfor %}<|assistant|>",
        "not append-only",
    ),
    "says words twice": (
        "{% for m in messages %}{{ '<|user|>' + m['content'] + m['content'] + '<|end|>' }}{% endfor %}<|assistant|>",
        "not append-only",
    ),
    "ends turns with no token": (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '\n' }}{% endfor %}<|assistant|>",
        "the turn's end is not the eos token",
    ),
    "is missing": (None, "no chat template"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_template_that_cannot_be_appended_to_is_refused(tokenizer: Any, name: str) -> None:
    template, message = REFUSED[name]
    with pytest.raises(TemplateError, match=message):
        ChatFormat(with_template(tokenizer, template))


def test_a_tokenizer_without_eos_is_refused(tokenizer: Any) -> None:
    changed = copy.deepcopy(tokenizer)
    changed.eos_token = None
    with pytest.raises(TemplateError, match="no eos token"):
        ChatFormat(changed)


def test_opening_students_again_and_again_does_not_fill_the_memory(tokenizer: Any) -> None:
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        return  # another C library than glibc

    def play() -> None:
        written(ChatFormat(tokenizer), [("12", "no"), ("13", "yes")], "7 + 6")

    for _ in range(5):
        play()
    before = in_use()
    for _ in range(60):
        play()
    assert in_use() - before < 60 * 1024
