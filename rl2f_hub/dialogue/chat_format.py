"""The chat format: how a conversation becomes ids in a ledger, appended turn by turn and never re-tokenised.

`ChatFormat` takes a tokenizer's chat template apart once, into the fixed pieces around a turn, and checks that turns
can be appended without changing what came before.

Student spans are the sampled ids, stop token included; everything else is template or teacher. Text from outside
(task, attempt, feedback) is encoded with special tokens, and the thinking marks of a template, split into plain
characters: what looks like a turn marker inside a text stays text. A character that a tokenizer has no token for is lost (SmolLM2
has none for most control characters).

Templates differ from a ledger in ways that have a rule each; any other way is refused with a `TemplateError`:

- The end of a turn need not be the eos token (Gemma), nor need the two roles end alike (Mistral).
- A template that trims texts: task and feedback are trimmed as it would; an attempt stays as it was sampled.
- White space before an earlier attempt (Mistral) is the student's to sample: every attempt follows the generation
  prompt as it was sampled after it.
- Thinking of earlier attempts: a template that drops it (Qwen3) is refused until the user chooses. `keep`: it stays in
  the context, and one ledger holds the whole dialogue. `strip`: later turns do not see it, so that the context of a
  turn is not a prefix of the next one's (`retold` forks the ledger); not for training.
- A date in the system message is always the first of January 2025: the same recipe gives the same ids on any day.
- Role marks of ordinary characters are refused: a text could open another's turn.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from datetime import date
from functools import lru_cache
from threading import Lock
from typing import Any, Literal

from rl2f_hub.dialogue.token_ledger import Ledger
from rl2f_hub.errors import RL2FError

Thinking = Literal["keep", "strip"]
THINKING_MARKS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"))
# Stands for the function of that name that templates take today's date from.
SAME_DAY = (
    "{% macro strftime_now(form) %}{{ form"
    + "".join(f".replace('%{c}', '{date(2025, 1, 1).strftime(f'%{c}')}')" for c in "aAbBcdDejFmuwxyY")
    + " }}{% endmacro %}"
)


class TemplateError(RL2FError):
    """The chat template cannot be appended to turn by turn."""


class ChatFormat:
    """The pieces of a tokenizer's chat template, and the only writer of ledgers.

    Args:
        tokenizer: a `transformers` fast tokenizer with a chat template and an end-of-sequence token.
        thinking: what becomes of the thinking in earlier attempts; to be chosen where the template drops it, else
            `keep`.
    Attributes:
        eos_id: the id that ends a student's turn.
        stop_ids: the ids that end an attempt when sampled.
        trims: the template takes white space off both ends of a text.
        drops_thinking: the template would drop or rewrite the thinking of earlier attempts.
    Raises:
        TemplateError: no template, no stop token, or a template that changes earlier turns when one is added.
    """

    def __init__(self, tokenizer: Any, thinking: Thinking | None = None) -> None:
        self.tokenizer = tokenizer
        self._name = tokenizer.name_or_path
        if not getattr(tokenizer, "chat_template", None):
            raise TemplateError(f"tokenizer '{self._name}': no chat template; choose an instruct model or set one")
        if tokenizer.eos_token_id is None:
            raise TemplateError(f"tokenizer '{self._name}': no eos token; set `eos_token` to the turn's end")
        source = str(tokenizer.chat_template)
        self._marks = next((marks for marks in THINKING_MARKS if marks[1] in source), THINKING_MARKS[0])
        tokens = {token.content for token in tokenizer.added_tokens_decoder.values()}
        marks = [re.escape(mark) for mark in self._marks if mark in tokens]
        self._thinking = f"({'|'.join(marks)})" if marks else ""  # the thinking marks that are tokens
        self._backend, self._lock = _own_copy(tokenizer.backend_tokenizer, source)
        self._take_apart(thinking)
        self._check_ids()

    # -- the template --------------------------------------------------------------------------------------------

    def _take_apart(self, thinking: Thinking | None) -> None:
        prompt, attempt, feedback = "Sentinel task one", "Sentinel attempt two", "Sentinel feedback three"
        text = self._render(prompt, attempt, feedback)
        try:
            before, rest = text.split(prompt)
            past, rest = rest.split(attempt)
            between, opening = rest.split(feedback)
        except ValueError:
            raise self._not_append_only("a turn's text appears changed or more than once") from None
        first = self._render(prompt)
        padded = self._render(f" \n{prompt}\n ")
        if padded not in (first, before + f" \n{prompt}\n " + opening):
            raise self._not_append_only("a turn's text appears changed or more than once")
        self.trims = padded == first
        added = opening.removeprefix(past).strip() if opening.startswith(past) else None
        reopens = bool(added and added.startswith(self._marks[0]))
        if first != before + prompt + opening or not (reopens or past.rstrip() == opening.rstrip()):
            raise self._not_append_only("the prompt is rendered differently once an attempt follows it")
        longer = self._render(prompt, attempt, feedback, "Four", "Five")
        if longer != before + prompt + past + attempt + between + feedback + past + "Four" + between + "Five" + opening:
            raise self._not_append_only("a third turn changes the second")
        thought = "\nSentinel thought\n".join(self._marks) + f"\n\n{attempt}"
        kept = self._render(prompt, thought, feedback) == text.replace(attempt, thought)
        self.drops_thinking = reopens or not kept
        if self.drops_thinking and thinking is None:
            raise TemplateError(
                f"chat template of '{self._name}' drops the thinking of earlier attempts; set dialogue.thinking to keep "
                "(it stays in the context) or strip (later turns do not see it; not for training)"
            )
        self.thinking: Thinking = thinking or "keep"
        self._thinks_from_start = reopens and self._marks[1] not in (added or "")
        self._before, self._opening, self._between = map(self._structure, (before, opening, between))
        self._past = self._structure(past) if reopens and self.thinking == "strip" else self._opening
        self._find_marks()

    def _find_marks(self) -> None:
        """Which ids are structure: what ends a turn, and what a student may not go on after."""
        added = self.tokenizer.added_tokens_decoder
        special = {*self.tokenizer.all_special_ids, *(i for i, token in added.items() if token.special)}
        special |= {i for i in (*self._opening, *self._between) if i in added and added[i].content.strip()}
        # A student that samples any structural token ends its attempt there: it can never open another role's turn.
        self.stop_ids: frozenset[int] = frozenset(special - {i for i, t in added.items() if t.content in self._marks})
        eos = self.tokenizer.eos_token_id
        marks = [i for i in self._between if i in self.stop_ids]
        if not marks or marks == [i for i in marks if i != eos][:1]:
            name = self.tokenizer.eos_token
            raise self._not_append_only(f"the turn's end is not the eos token {name!r} or another token of its own")
        if len(marks) < 2 or not self.stop_ids.intersection(self._opening):
            raise TemplateError(
                f"chat template of '{self._name}' marks roles with ordinary characters, so that a text could open "
                "another's turn; use a model whose role marks are special tokens"
            )
        self.eos_id = eos if eos in marks else marks[0]
        # The token that ends the teacher's turn, where nothing stands between it and the words.
        self._closing = self._opening[:1] if self._opening[0] in self.stop_ids else []

    def _check_ids(self) -> None:
        """A whole conversation, written piece by piece with this tokenizer, reads as the template would have it."""
        texts = ["Sentinel one: 1 + 1.", "  two \n\n2", "Three? <think>é\n"]
        ledger = self.open(texts[0])
        self.attempt(ledger, [*self.encode(texts[1]), self.eos_id], [], 1)
        self.feedback(ledger, texts[2], 1)
        before, opening, between = map(self._read, (self._before, self._opening, self._between))
        whole = before + texts[0] + opening + texts[1] + between + self.said(texts[2]) + opening
        if self._read(ledger.ids) != whole or any(self.decode(self.encode(t)) != t for t in texts):
            raise TemplateError(
                f"tokenizer '{self._name}': text encoded turn by turn does not decode to itself; use a model whose "
                "tokenizer keeps every character"
            )

    def _render(self, *texts: str) -> str:
        """The conversation of texts, the user's and the student's in turn, up to the next attempt."""
        messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
        own = self.tokenizer.chat_template
        dated = SAME_DAY + own if isinstance(own, str) and "strftime_now" in own else None
        try:
            return self.tokenizer.apply_chat_template(
                messages, chat_template=dated, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # a stranger's program in Jinja's sandbox: whatever it raises
            reason = " ".join(str(error).split())[:160]
            raise TemplateError(
                f"chat template of '{self._name}' fails ({type(error).__name__}: {reason}); use another model or template"
            ) from None

    def _not_append_only(self, why: str) -> TemplateError:
        return TemplateError(
            f"chat template of '{self._name}' is not append-only: {why}; use a template that keeps earlier turns"
        )

    # -- text and ids --------------------------------------------------------------------------------------------

    def _structure(self, text: str) -> list[int]:
        return self._ids(text, False)

    def _read(self, ids: list[int]) -> str:
        return self._backend.decode(ids, skip_special_tokens=False)

    def encode(self, text: str) -> list[int]:
        """Ids of outside text, special tokens taken as characters."""
        return self._ids(text, True)

    def encode_attempt(self, text: str) -> list[int]:
        """Ids of a recorded attempt: `encode`, but with the thinking marks as the tokens that a student samples."""
        if not self._thinking:
            return self.encode(text)
        pieces = filter(None, re.split(self._thinking, text))
        return [i for piece in pieces for i in self._ids(piece, piece not in self._marks)]

    def _ids(self, text: str, as_characters: bool) -> list[int]:
        with self._lock:  # formats of one tokenizer share its copy
            self._backend.encode_special_tokens = as_characters
            return self._backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        """Text of an attempt: its stop token and any other structural token dropped."""
        return self._read([i for i in ids if i not in self.stop_ids])

    def said(self, text: str) -> str:
        """A task's or teacher's text as it stands in a ledger: trimmed where the template trims."""
        return text.strip() if self.trims else text

    # -- ledgers -------------------------------------------------------------------------------------------------

    def open(self, prompt: str) -> Ledger:
        """A new ledger that asks `prompt` and waits for the student."""
        return self.open_ids(self.encode(self.said(prompt)))

    def open_ids(self, prompt_ids: list[int]) -> Ledger:
        """`open` for a prompt that is encoded already."""
        ledger = Ledger()
        ledger.append("template", self._before, 0)
        ledger.append("prompt", prompt_ids, 0)
        ledger.append("template", self._opening, 1)
        return ledger

    def attempt(self, ledger: Ledger, ids: list[int], logprobs: list[float], turn: int) -> None:
        """Append the student's sampled ids as they are."""
        ledger.append("student", ids, turn)
        ledger.logprobs.extend(logprobs)

    def feedback(self, ledger: Ledger, text: str, turn: int, closing: bool = False) -> None:
        """Append the teacher's words after attempt `turn`, and, unless `closing`, the opening of the next attempt.

        The teacher's span holds its words and the token that ends them.
        """
        self.feedback_ids(ledger, self.encode(self.said(text)), turn, closing)

    def before_feedback(self, ledger: Ledger) -> list[int]:
        """The ids between a ledger's last attempt and the feedback on it: whoever goes on after them speaks as teacher."""
        between = self._between
        if ledger.ids and ledger.ids[-1] == self.eos_id:  # the student ended its own turn: do not end it twice
            between = between[between.index(self.eos_id) + 1 :]
        return list(between)

    def feedback_ids(self, ledger: Ledger, text_ids: list[int], turn: int, closing: bool = False) -> None:
        """`feedback` for words that are encoded already."""
        ledger.append("template", self.before_feedback(ledger), turn)
        ledger.append("teacher", [*text_ids, *self._closing], turn)
        if not closing:
            ledger.append("template", self._opening[len(self._closing) :], turn + 1)

    def critic(self, ledger: Ledger, turn: int) -> None:
        """Append what stands between attempt `turn` and the teacher's words, so that the student may speak in its place."""
        between = self._between
        if ledger.ids and ledger.ids[-1] == self.eos_id:
            between = between[between.index(self.eos_id) + 1 :]
        ledger.append("template", between, turn)

    def retold(self, ledger: Ledger, first: int = 1) -> Ledger:
        """The conversation of a ledger as a new one: the question, then what was said from attempt `first` on.

        With `thinking: strip` the attempts are without their thinking. Ids are taken over, never made again from text.
        The ledger must hold attempt `first`, if it holds any, and end with feedback, with or without the opening of the
        next attempt.
        """
        out = Ledger()
        out.append("template", self._before, 0)
        out.append("prompt", ledger.of("prompt", 0), 0)
        said, closed = 0, 0  # log-probabilities seen so far; how much of an opening the teacher's span holds already
        for turn in ledger.turns:
            words = ledger.of("student", turn)
            scores = ledger.logprobs[said : said + len(words)]
            said += len(words)
            if turn < first:
                continue
            answer = self._without_thinking(words, self._opens_with_thought(ledger, turn))
            out.append("template", self._past[closed:], turn)
            self.attempt(out, answer, scores[len(words) - len(answer) :], turn)
            text = ledger.of("teacher", turn)
            self.feedback_ids(out, text[: len(text) - len(self._closing)], turn, closing=True)
            closed = len(self._closing)
        if ledger.spans[-1].role == "template":
            out.append("template", self._opening[closed:], ledger.spans[-1].turn)
        return out

    @property
    def opened_mark(self) -> str:
        """The thinking mark that the template itself writes at the start of every attempt; empty where it writes none."""
        return self._marks[0] if self._thinks_from_start else ""

    def _opens_with_thought(self, ledger: Ledger, turn: int) -> bool:
        """Whether the template opened the thinking of an attempt; it has not where the attempt was stripped before."""
        start = next((s.start for s in ledger.spans if s.role == "student" and s.turn == turn), 0)
        opening = self._opening[len(self._closing) :]
        return self._thinks_from_start and ledger.ids[start - len(opening) : start] == opening

    def _without_thinking(self, ids: list[int], opened: bool) -> list[int]:
        """With `strip`, the ids after the last thinking mark and the white space behind it: always a tail of `ids`.

        An attempt that was cut while it thought has no answer: only its stop token is left, if it has one.
        """
        if self.thinking == "keep" or not ids:
            return ids
        opens, closes = self._marks
        text = self.decode(ids)
        if closes in text:
            count = text.count(closes)
            start = bisect_left(range(len(ids)), count, key=lambda k: self.decode(ids[:k]).count(closes))
            while start < len(ids) and self.decode(ids[start : start + 1]).isspace():
                start += 1
            return ids[start:]
        if opens in text or opened:
            return ids[-1:] if ids[-1] in self.stop_ids else []
        return ids


def _own_copy(backend: Any, template: str) -> tuple[Any, Lock]:
    """A `tokenizers` backend that adds no space of its own to a piece of text and knows the template's marks as special.

    Some tokenizers put a space before a text, and take one off when they decode: right for a whole text, wrong for
    the pieces of a conversation.
    """
    state = json.loads(backend.to_str())
    for token in state["added_tokens"]:
        # Others, such as runs of white space, are how a tokenizer spells ordinary text.
        text = token["content"]
        token["special"] |= any(text in marks for marks in THINKING_MARKS) or (bool(text.strip()) and text in template)
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        state[part] = _spaceless(state[part])
    state["truncation"] = state["padding"] = None
    return _made(json.dumps(state))


@lru_cache(maxsize=4)
def _made(state: str) -> tuple[Any, Lock]:
    """One backend for all formats with the same state, and who may use it.

    Each that is made and encodes leaves some KiB behind for good (tokenizers 0.23), and one process opens many students
    on few tokenizers.
    """
    from tokenizers import Tokenizer

    return Tokenizer.from_str(state), Lock()


def _spaceless(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    if part.get("type") in ("Prepend", "Strip"):
        return None
    for name, value in (("prepend_scheme", "never"), ("add_prefix_space", False)):
        if name in part:
            part[name] = value
    for name in ("normalizers", "pretokenizers", "decoders"):
        if name in part:
            part[name] = [p for p in map(_spaceless, part[name]) if p is not None]
    return part
