"""From what a model wrote to what a student may read: the feedback span, or the reason why there is none.

A teacher thinks in private and puts its words between `<feedback>` and `</feedback>`; the last such pair that is closed
goes on, and nothing else. Feedback that is empty, refuses, or is in another language than the task is no feedback.
Too long feedback ends at its last whole sentence within the limit.

Left out: whether the words are true or good. Languages are told apart by script, and within the Latin script by the
small words of six of them, so short replies and other languages pass.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

OPEN, CLOSE = "<feedback>", "</feedback>"

_REFUSALS = re.compile(
    r"^\W*(?:(?:i['’]?m|i am) (?:very |so )?(?:sorry|unable|not able)\b[^.!?\n]{0,20}?\b(?:can(?:no|['’])t|unable|not able|to)\b"
    r"|sorry,? (?:but )?i (?:can(?:no|['’])t|am (?:unable|not able))\b"
    r"|i (?:can(?:no|['’])t|won['’]t|will not|must decline to) (?:help|assist|comply|provide|answer|do|give|continue|discuss)\b"
    r"|as an ai\b)",
    re.IGNORECASE,
)
# Words that are frequent in one of these languages and rare in the others.
_SMALL_WORDS = {
    "English": "the and is of to that you your it with this not are what how which should",
    "German": "der die das und ist nicht ein eine zu mit du dein sie auf den wie dass",
    "French": "le les et est une des vous votre pas pour que dans du il elle ce cette au",
    "Spanish": "el los las y es una por que del tu su con para como esta este pero",
    "Italian": "il gli che di è una per non con della nel sono come questo questa ma",
    "Portuguese": "o os as e é uma por não com da do para você seu sua mas isso",
}
_WORDS = {name: frozenset(words.split()) for name, words in _SMALL_WORDS.items()}


def read_reply(raw: str, question: str, max_chars: int, complete: bool = True, prompt: str = "") -> tuple[str, str]:
    """(feedback, "") or ("", reason), the reason one of truncated, no_feedback, empty, refused, other_language.

    Args:
        question: the task, whose language the feedback has to be in.
        max_chars: the longest feedback that goes on.
        complete: whether the model ended its reply itself, rather than running out of tokens.
        prompt: what it had read; a span that stands there already (the instructions name the tags) does not count.
    """
    told = {_bare(span) for span in _spans(prompt)}
    spans = [span for span in _spans(raw) if not span.strip() or _bare(span) not in told]
    if not spans:
        if not raw.strip():
            return "", "empty" if complete else "truncated"
        if _REFUSALS.search(_thought_off(raw).strip()):
            return "", "refused"
        return "", "no_feedback" if complete else "truncated"
    text = _clean(spans[-1])
    if not text:
        return "", "empty"
    if _REFUSALS.search(text):
        return "", "refused"
    if not same_language(question, text):
        return "", "other_language"
    return shorten(text, max_chars), ""


def _spans(raw: str) -> list[str]:
    """The closed spans in order. One inside a reasoning model's own thoughts does not count."""
    return re.findall(r"<feedback>((?:(?!</?feedback>).)*)</feedback>", _thought_off(raw), re.DOTALL | re.IGNORECASE)


def _thought_off(raw: str) -> str:
    lowered = raw.lower()
    if "<think>" in lowered and "</think>" not in lowered[lowered.rindex("<think>") :]:
        return raw[: lowered.rindex("<think>")]  # still thinking when it ended
    return raw[lowered.rindex("</think>") + len("</think>") :] if "</think>" in lowered else raw


def _bare(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _clean(text: str) -> str:
    """Without control and invisible characters, repeated marks of the prompt's blocks and blank lines at the ends."""
    text = re.sub(r"\[[^\[\]\n]{1,20} [0-9a-f]{16}\]\n?", "", text)
    text = "".join(c for c in text if c == "\n" or c.isprintable() or c.isspace())
    return re.sub(r"\n{3,}", "\n\n", text.replace("\r", "")).strip()


def shorten(text: str, limit: int) -> str:
    """The text up to the last sentence that ends within `limit` characters; up to the last word if none does."""
    if len(text) <= limit:
        return text
    ends = [m.end() for m in re.finditer(r"[.!?](?=\s|$)|[。！？]|\n(?=\s*\S)", text[: limit + 1]) if m.end() <= limit]
    if ends:
        return text[: ends[-1]].rstrip()
    head = text[: limit - 1]
    return (head[: head.rindex(" ")] if " " in head else head).rstrip() + "…"


def same_language(question: str, text: str) -> bool:
    """False only where another script or another language is plain to see."""
    asked, said = _script(question, 6), _script(text, 12)
    if asked and said and asked != said:
        return False
    ours, theirs = _language(question), _language(text)
    return not (ours and theirs and ours != theirs)


def _script(text: str, least: int) -> str:
    """The script of most letters (code is mostly Latin); "" below `least` letters or without a clear majority."""
    scripts = Counter(_script_of(c) for c in text if c.isalpha())
    total = scripts.total()
    if total < least:
        return ""
    name, count = scripts.most_common(1)[0]
    return name if count > 0.6 * total else ""


def _script_of(letter: str) -> str:
    name = unicodedata.name(letter, "").split(" ")[0]
    return "CJK" if name in ("CJK", "HIRAGANA", "KATAKANA") else name


def _language(text: str) -> str:
    """The language whose small words are clearly the most frequent; "" if in doubt."""
    words = Counter(re.findall(r"[^\W\d_]+", text.casefold()))
    hits = {name: sum(words[w] for w in small) for name, small in _WORDS.items()}
    (best, most), (_, second) = sorted(hits.items(), key=lambda item: -item[1])[:2]
    return best if most >= 4 and most >= 2 * second else ""
