"""Is it one real sentence about its topic? What is checked before any requirement counts.

A reward finds every gap. Trained on "has the words" alone, a model wrote "A dragon is a dragon that is a dragon." and
copied the feedback into its answer. So: exactly one sentence with a capital and a stop, five to forty words, at least
three of them content words and some that hold a sentence together, the topic's thing in it, no content word twice, and no
run of words from the feedback. Whether it reads like English beyond that is `fluency.py`'s question.

Left out: grammar, and whether the sentence makes sense.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rl2f_hub.tasks.writing.requirements import has_word, words_of

MIN_WORDS, MAX_WORDS = 5, 40
MIN_CONTENT_WORDS = 3
COPIED_RUN = 4  # this many words in a row from the feedback are a copy
COPIED_PROMPT = 7  # and this many from the prompt, whose topic (`a lamp at the old station`) may be said again
_WRAPPERS = re.compile(r"^[\s\"“”'‘’*_`]+|[\s\"“”'‘’*_`]+$")
_STOP_INSIDE = re.compile(r"[.!?]+[\"”'’]?\s+(?=\S)")
# Words that may repeat, since they carry grammar and not content.
FUNCTION_WORDS = frozenset(
    "a an the this that these those and or but so nor yet if then than as because while when where who whose which what "
    "how why i you he she it we they me him her us them my your his its our their mine yours is are was were be been being "
    "am do does did has have had will would can could shall should may might must not no of to in on at by for with from "
    "into onto over under up down out off near about after before behind between through during across around beside "
    "above below there here all any some each every both one only just too very also again still never always once "
    "itself himself herself themselves let's it's i'm don't isn't".split()
)
_GLUE = frozenset(
    "a an the and or but so if as because while when where who which what how why is are was were be been being am do does "
    "did has have had will would can could may might must not of to in on at by for with from into onto".split()
)


def unwrap(attempt: str) -> str:
    """The attempt without quotation marks and Markdown around it."""
    text = " ".join(attempt.split())
    while (bare := _WRAPPERS.sub("", text)) != text:
        text = bare
    return text


def objections(sentence: str, thing: str, prompt: str = "", feedback: Sequence[str] = ()) -> Iterator[str]:
    """What keeps the text from being one real sentence about `thing`, each a sentence to be told; nothing if it is one.

    Args:
        sentence: an attempt, unwrapped.
        thing: the noun of the topic.
        prompt: the task, which must not be written off.
        feedback: what the teacher has said so far.
    """
    words = words_of(sentence)
    if not words:
        yield "There is no sentence yet."
        return
    if _STOP_INSIDE.search(sentence) or not sentence.endswith((".", "!", "?")) or sentence.endswith((".!", "?!", "!?")):
        yield "It must be exactly one sentence with its stop at the end."
    if not (sentence[0].isupper() or sentence[0].isdigit()):
        yield "It must begin with a capital letter."
    if len(words) < MIN_WORDS:
        yield f"It is too short for a real sentence: at least {MIN_WORDS} words are needed."
    if len(words) > MAX_WORDS:
        yield f"It is too long for one sentence: at most {MAX_WORDS} words."
    if not has_word(sentence, thing):
        yield f"It must be about the {thing}."
    if twice := _repeated(words):
        yield f'The word "{twice}" stands in it twice; say each thing once.'
    content = {w for w in words if w not in FUNCTION_WORDS}
    if len(content) < min(MIN_CONTENT_WORDS, len(words) - 1) or not any(w in _GLUE for w in words):
        yield "It must be a whole sentence, not a list of words."
    if _copies(words, feedback, COPIED_RUN) or _copies(words, [prompt], COPIED_PROMPT):
        yield "Do not repeat what I said: write a sentence of your own."


def _repeated(words: Sequence[str]) -> str | None:
    """A content word that stands twice, its plural counted as the same word."""
    seen: set[str] = set()
    for word in words:
        stem = word.removesuffix("'s")
        stem = stem[:-1] if len(stem) > 3 and stem.endswith("s") and not stem.endswith("ss") else stem
        if word in FUNCTION_WORDS or word.isdigit():
            continue
        if stem in seen:
            return word
        seen.add(stem)
    return None


def _copies(words: Sequence[str], texts: Sequence[str], run: int) -> bool:
    """Whether `run` words in a row stand in one of the texts too."""
    runs = {tuple(words[i : i + run]) for i in range(len(words) - run + 1)}
    told = [words_of(text) for text in texts]
    return any(tuple(t[i : i + run]) in runs for t in told for i in range(len(t) - run + 1))
