r"""One way to read an attempt: what it commits to, or why it commits to nothing. Every verifier reads through here.

In this order:

1. Characters: NFC, no zero-width ones, full-width as ASCII, typographic minus, apostrophes and spaces as typed ones.
2. Scratch work between thinking marks is left out; a block that is never closed leaves no answer.
3. Corrections: what stands after the last "wait", "correction:", "I mean" counts alone where it states an answer. A next question
   that a base model asks itself is left out where an answer stands before it.
4. Where the answer stands: a box (boxes with a comma or "and" between them are one answer of several parts), `<answer>`; then
   `####`, there the first; JSON `{"answer": ...}`; the last statement ("the answer is", "I choose", "72 is the answer"; not one
   about an earlier or wrong answer); else the end of the text. The last one of a kind counts.
5. Wrappers come off in a loop: bold, code, quotes, `$`, `\(`, `\text`, brackets of LaTeX, full stops.
6. What the reader of the verifier finds there is taken if the text commits to it: a value that is denied, one of several that
   are offered, or the end of a range is no answer, and an answer that is taken back ("that is wrong") is none either.

Every pattern runs in linear time: model text is hostile until shown otherwise.
"""

from __future__ import annotations

import enum
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

MAX_CHARS = 20_000  # text before the last 20,000 characters is not looked at: an attempt is not a book
Marks = tuple[str, str]

# -- 1. characters ---------------------------------------------------------------------------------------------------

_DROPPED = dict.fromkeys([0xAD, 0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF])
_TYPED: dict[int, str | None] = {
    **_DROPPED,
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    **{ord(c): "-" for c in "−‐‑﹣➖"},
    **{ord(c): "'" for c in "‘’‚‛ʼ′"},
    **{ord(c): '"' for c in "“”„‟«»「」『』"},
    **{
        ord(c): " "
        for c in "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
    },
    **{ord("⁄"): "/", ord("∕"): "/", ord("。"): ". ", ord("、"): ", ", ord("∴"): "so ", ord("⇒"): "=>"},
}
_DASH_AS_MINUS = re.compile(r"(?<![\w)%] )(?<![\w)%])[–—](?=[\d$€£.\\])")


def plain_characters(text: str) -> str:
    """The text in the characters that a keyboard has, where typography has others for them."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFC", text).translate(_TYPED)
    return _DASH_AS_MINUS.sub("-", text)


# -- 2. scratch work -------------------------------------------------------------------------------------------------

# <think> and its kin in any spelling; pairs of the families that write other marks.
_TAG = re.compile(
    r"<(?P<close>/?)(?:[a-z]{1,12}[:_])?(?:think(?:ing)?|thoughts?|reason(?:ing)?|scratch_?pad|reflection|inner_?monologue)"
    r"(?: [^<>]{0,40})?>",
    re.IGNORECASE,
)
PAIRS: tuple[Marks, ...] = (
    ("[THINK]", "[/THINK]"),  # Mistral
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # Sky-T1, OpenThinker
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    ("◁think▷", "◁/think▷"),  # Kimi
    ("<|channel>thought", "<channel|>"),  # Gemma
)
_FINAL_CHANNEL = re.compile(r"<\|channel\|>final[^<]{0,40}<\|message\|>")  # gpt-oss
_COMMENT = re.compile(r"<!--[^<>]{0,500}-->")  # of HTML: nobody sees it
_ROLE_MARK = re.compile(
    r"<\|(?:end|return|start|call|im_end|im_start|eot_id|endoftext|begin_of_solution|end_of_solution|START_RESPONSE|END_RESPONSE)\|>"
    r"|</s>|<end_of_turn>|<\|end_of_text\|>"
)


def without_scratch(text: str, marks: Sequence[Marks] = ()) -> str | None:
    """What stands outside the thinking marks; None where a block is opened and never closed.

    A closing mark without its opening one ends a block that the chat template opened.
    """
    if "<|channel|>" in text:
        *_, last = _FINAL_CHANNEL.split(text)
        if last is text or "<|channel|>" in last:
            return None
        text = last
    if text.startswith("analysis") and "assistantfinal" in text:  # the same with its special tokens left out
        text = text.rsplit("assistantfinal", 1)[1]
    events = [(m.start(), m.end(), not m["close"]) for m in _TAG.finditer(text)] if "<" in text else []
    for opening, closing in (*PAIRS, *marks):
        if closing in text or opening in text:
            found = re.finditer(f"{re.escape(closing)}|{re.escape(opening)}", text)
            events += [(m.start(), m.end(), m[0] != closing) for m in found]
    kept: list[str] = []
    start, depth = 0, 0
    for begin, end, opens in sorted(events):
        if begin < start:
            continue
        if opens:
            if depth == 0:
                kept.append(text[start:begin])
            depth += 1
        elif depth:
            depth -= 1
        else:
            kept.clear()
        start = end
    if depth:
        return None
    text = "\n".join([*kept, text[start:]]) if events else text
    return _COMMENT.sub(" ", _ROLE_MARK.sub("\n", text)) if "<" in text else text


# -- what is read ----------------------------------------------------------------------------------------------------


class Strength(enum.IntEnum):
    """How plainly an attempt says that something is its answer."""

    NOTHING = 0
    LOOSE = 1  # the last candidate in its text
    SAID = 2  # alone, or what a sentence is about: "the GCD is 3", "= 3"
    STATED = 3  # "the answer is 3"
    MARKED = 4  # in a box, a tag, after ####, as JSON


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer may stand: its `text`, in more than one part where boxes are listed, and where it ends."""

    text: str
    strength: Strength
    end: int = 0
    parts: tuple[str, ...] = ()
    line: str = ""  # of a statement: to the end of its line, for answers that have full stops of their own


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader found: the `answer`, or None and the `reason` in words. `final`: no other place may be asked."""

    answer: str | None
    strength: Strength = Strength.NOTHING
    reason: str = ""
    final: bool = False
    denied: tuple[str, ...] = ()


NOTHING = Reading(None)


def _as(reading: Reading, strength: Strength, final: bool = False) -> Reading:
    return Reading(reading.answer, strength, reading.reason, final or reading.final, reading.denied)


_DENIAL = re.compile(
    r"(?:not|never|anything but)\b|.*\b(?:is|are|was|were|looks|seems) (?:\w+ )?(?:wrong|incorrect"
    r"|not (?:right|correct))\W{0,3}\Z",
    re.IGNORECASE,
)


def is_denied(clause: str) -> bool:
    """Whether a clause says what the answer is not, whatever it holds."""
    return _DENIAL.match(clause) is not None


Reader = Callable[[Place], Reading]

_CORRECTING = (
    *(
        "wait",
        "actual",
        "correct",
        "scratch",
        "thought",
        "mista",
        "error",
        "oops",
        "mean",
        "sorry",
        "rather",
        "no that",
        "was wrong",
    ),
    "no, that",
)
_CORRECTION = re.compile(
    r"\b(?:actually|(?:no|oh|oops|hmm|sorry|hold on|but),? wait|wait,? no|wait|correction"
    r"|corrected(?= ?:)|scratch that|on second thoughts?|"
    r"let me correct (?:that|this|it|myself)|i (?:made|see) (?:a|an|my) (?:mistake"
    r"|error)[^.:;\n]{0,60}|i was (?:wrong|mistaken|incorrect)|my mistake|oops|i mean[t]?|"
    r"no,? (?:that(?:'s| is) (?:wrong|incorrect|not right)|sorry)|or rather|sorry)\b[\s,;:.!-]{0,3}",
    re.IGNORECASE,
)
_RUN_ON = re.compile(
    r"\n\s{0,8}(?:#{1,4} ?|\*\*)?(?:(?:next |new |another )?question|problem|q|human|user"
    r"|instruction|exercise|example)(?: ?\d{1,3})?(?:\*\*)? ?:",
    re.IGNORECASE,
)
_EXPLAINED = re.compile(
    r"\n\s{0,8}[#*_ ]{0,7}"
    r"(?:(?:explanation|reason(?:ing)?|justification|note)[*_ ]{0,3}:|(?:i )?hope (?:this|that)|let me know|feel free"
    r"|please (?:note|let)|if you (?:have|need))",
    re.IGNORECASE,
)
_FINAL = re.compile(r"\bfinal answer\b", re.IGNORECASE)
_TAKEN_BACK = re.compile(
    r"\b(?:that|this|it|which|answer|i)(?:'s| is| was| must be| has to be| seems| looks)? ?(?:all "
    r"|also |clearly |obviously |still )?"
    r"(?:not (?:be )?(?:right|correct)|wrong|incorrect|a mistake|mistaken|(?:isn't|wasn't|can't be"
    r"|cannot be) (?:right|correct|it)\b)"
    r"|\A[\s$).*]{0,6}(?:is|was|seems|looks) (?:\w+ )?(?:wrong|incorrect|not (?:right|correct|the answer|my answer))",
    re.IGNORECASE,
)


def read(attempt: str, reader: Reader) -> Reading:
    """What an attempt without its scratch work commits to, found by `reader` in the first place that has something for it."""
    text = plain_characters(attempt[-MAX_CHARS:]).strip()
    lowered = text.lower()
    corrections: list[int] = []
    for word in _CORRECTING:
        if word in lowered:
            corrections = [m.end() for m in _CORRECTION.finditer(text)]
            break
    for start in corrections[-1:]:
        corrected = _from(text[start:], reader)
        if corrected.strength >= Strength.SAID or corrected.final:
            return corrected
    ran_on = None
    if "\n" in text:
        ran_on = _RUN_ON.search(text)
        answered, *explained = _EXPLAINED.split(text, maxsplit=1)
        if explained and answered.strip() and _from(explained[0], reader).strength < Strength.STATED:
            before = _from(answered, reader)
            if before.strength >= Strength.SAID:
                return before
    if ran_on:
        before = _from(text[: ran_on.start()], reader)
        if before.strength >= Strength.STATED:
            return before
    return _from(text, reader)


def _from(text: str, reader: Reader) -> Reading:
    text = _EMPTY_BOX.sub(" ", text) if "boxed" in text else text
    place = marked_place(text)
    if place is not None:
        said_last = next(iter(stated_places(text[place.end :])), None) if _FINAL.search(text, place.end) else None
        if said_last is not None and (reading := reader(said_last)).answer is not None:
            return _as(reading, Strength.STATED)  # boxes before it are of its steps
        reading = reader(place)
        if reading.answer is not None and _TAKEN_BACK.search(text[place.end :]):
            after = reader(Place(text[place.end :], Strength.LOOSE))
            return after if after.strength >= Strength.SAID else Reading(None, reason="the answer is taken back")
        return _as(reading, Strength.MARKED, final=True)
    refused = NOTHING
    denied: list[str] = []
    for place in stated_places(text):
        reading = reader(place)
        denied += reading.denied
        if reading.answer is not None:
            return _kept(_as(reading, Strength.STATED), text, place.end, reader, denied)
        if reading.final:
            return reading
        refused = refused if refused.reason else reading
    reading = reader(Place(text, Strength.LOOSE, len(text)))
    if refused.reason and reading.strength < Strength.SAID:
        return refused
    return reading if reading.answer is not None or reading.reason else refused


def _kept(reading: Reading, text: str, end: int, reader: Reader, denied: Sequence[str]) -> Reading:
    """The reading of a statement that ends at `end`, unless what follows takes it back."""
    if reading.answer in denied:
        return Reading(None, reason="the answer is denied")
    rest = text[end:]
    if not rest.strip():
        return reading
    if _TAKEN_BACK.search(rest):
        after = reader(Place(rest, Strength.LOOSE, len(text)))
        return after if after.strength >= Strength.SAID else Reading(None, reason="the answer is taken back")
    after = reader(Place(rest, Strength.LOOSE, len(text)))
    return Reading(None, reason="the answer is denied") if reading.answer in after.denied else reading


# -- 4. where the answer stands ----------------------------------------------------------------------------------------

_BRACE = re.compile(r"\\(?:boxed|fbox)\s{0,3}\{|\\?[{}]")
_EMPTY_BOX = re.compile(r"\\boxed\s{0,3}\{\s{0,9}\}")
_BARE_BOX = re.compile(r"\\boxed\s{1,3}(\\?[^\s{}\\]+)")
_BETWEEN_BOXES = re.compile(
    r"(?:[\s,;&$]|\\q?quad\b|\\[,;!() ]|\\\[|\\\]|\\text\{(?:[^{}]{0,40}\s)?(?:and|or)\s{0,3}\}|\band\b|\bor\b)*",
    re.IGNORECASE,
)
_ANSWER_TAG = re.compile(r"<(?:final_?)?answer>(.*?)(?:</(?:final_?)?answer>|\Z)", re.IGNORECASE | re.DOTALL)
_HASH = re.compile(r"^#{4}(?!#)([^\n]+)$", re.MULTILINE)
_JSON = re.compile(
    r"""["'](?:final[_ ]?)?(?:answer|result|output|solution|choice)["']\s{0,5}:\s{0,5}(?=(.))""",
    re.IGNORECASE | re.DOTALL,
)
_PAST = (
    r"(?:previous|earlier|first|last|old|initial|original|former|prior|wrong|incorrect|mistaken|your|his|her|their|other|rejected|"
    r"student's|teacher's|someone's)"
)
_NOUN = (
    r"(?:answers?|ans|result|solution|response|conclusion|(?:correct|right|best|final|selected"
    r"|chosen) (?:choice|option|letter)|selection)"
)
_LINK = (
    r"(?:(?:\s{0,3}(?:is|are|=|:|equals|would(?: then)? be|should(?: then)? be|must(?: then)? be"
    r"|will be|has to be|comes? to|turns out to be|"
    r"thus|therefore|then|hence|clearly|simply|indeed|actually|now)(?![a-z]))+\s{0,3}:?|\s{1,3}[-–—]{1,2}(?=\s)|\s{0,3}(?:→|->|=>)|'s\b)"
)
_NOT = (
    r"(?:isn't|is not|aren't|can't be|cannot be|can not be|couldn't be|could not be|shouldn't be"
    r"|wasn't|was not|won't be|must not be|is never)"
)
_ABOUT = r"(?:\s(?:to|of|for|in|here|we|that|you|i)\b[^.,:;=\n]{0,60}?)?"
_STATED = re.compile(
    rf"(?P<past>\b{_PAST}\s(?:\w+\s){{0,2}})?(?P<noun>\b{_NOUN}\b){_ABOUT}[\s*_`\"')]{{0,4}}(?:(?P<not>{_NOT})|(?P<was>\bwas\b)|{_LINK}|(?=\n))"
    r"|(?P<pick>\b(?:i(?:'d| would| will|'ll)? (?:choose|pick|select|go with|say|opt for|vote for"
    r"|settle on|answer)|my (?:choice|pick|guess) is|"
    r"going with|we (?:choose|pick|select)))\b(?: that)?:?",
    re.IGNORECASE,
)
# A text without these has no statement, and none of the patterns above need run: most of a long attempt's time.
_STATING = (
    *(
        "ans",
        "resul",
        "solut",
        "respon",
        "conclus",
        "choi",
        "choos",
        "option",
        "letter",
        "select",
        "pick",
        "say",
        "go with",
        "going with",
    ),
    *("opt for", "vote for", "settle", "right", "correct"),
)
_VALUE_START = re.compile(r"[.:](?!\d)|[!?;\n]")
_NO_VALUE = re.compile(rf"\b(?:{_NOUN}|that|which|what|it|this|{_PAST})\s*$", re.IGNORECASE)
_REVERSED = re.compile(
    r"\s(?:is|are|would be|should be"
    r"|must be)\s(?:then |thus |therefore |clearly |definitely |indeed )?"
    r"(?:(?:my|the|our)\s)?(?:(?:final|right|correct|best|only|one)\s){0,2}(?:answer|solution|result|choice|option|correct|right)\b"
    r"(?!\s(?:to|of|for|when|if|but)\b)",
    re.IGNORECASE,
)
_TURNED = re.compile(r"\b(?:is|are|be)\s")
_UNBELIEVED = re.compile(
    r"(?:\b(?:don't|do not|didn't|can't|cannot) (?:think|believe|say)|\bdoubt|\b(?:know|sure|tell|say|decide) (?:if|whether))"
    r"(?: that)?(?: the| my)?\s*\Z",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(r"\s(?:if|had)\s", re.IGNORECASE)  # "the answer would be 42 if there were 7"
_CLAUSE_END = re.compile(r"[.!?](?=[\s\"'*_)`$]|$)(?<!\b[ap]\.m\.)|;\s|\n")
_LEAD = re.compile(r"[\s*_`>#:]+")


def marked_place(text: str, deeper: int = 2) -> Place | None:
    """The place that is marked as the answer's: a box, a tag, `####` or JSON; None where there is none.

    A box within a box is looked into `deeper` times.
    """
    found: list[Place] = []
    if "boxed" in text or "\\fbox" in text:
        found += _boxes(text)
    if "nswer>" in text or "NSWER>" in text:
        tags = [m for m in _ANSWER_TAG.finditer(text) if m[1].strip()]
        found += [Place(m[1], Strength.MARKED, m.end()) for m in tags[-1:]]
    if found:
        inner = max(found, key=lambda place: place.end)
        nested = marked_place(inner.text, deeper - 1) if deeper and "boxed" in inner.text else None
        return replace(nested, end=inner.end) if nested else inner
    if "####" in text:
        for match in _HASH.finditer(text):
            last = not text[match.end() :].strip()
            said = match[1].split("####")[0].strip()[:200]
            if (last or re.match(r"[-+$€£\d(.\\√π]|\S{1,20}$", said)) and not re.match(r"\d+[.)] ?[A-Za-z]|.*:$", said):
                return Place(said, Strength.MARKED, match.end())
    if ("{" in text or '":' in text) and (matches := list(_JSON.finditer(text))):
        value, end = _json_value(text, matches[-1].end())
        if value.strip():
            return Place(value, Strength.MARKED, end)
    return None


def _boxes(text: str) -> list[Place]:
    """The last box, or the last ones that are one answer."""
    opened: list[int | None] = []
    found: list[tuple[int, int, int]] = []  # where the command, its content and its end are; outermost boxes only
    starts: list[int] = []
    for match in _BRACE.finditer(text):
        if match[0].startswith("\\") and len(match[0]) == 2:
            continue  # \{ and \} are characters
        if match[0] != "}":
            opened.append(match.end() if len(match[0]) > 1 else None)
            starts.append(match.start())
        elif opened:
            start, command = opened.pop(), starts.pop()
            if start is not None and text[start : match.start()].strip():
                while found and found[-1][0] > command:
                    found.pop()
                found.append((command, start, match.start()))
    if not found:
        bare = list(_BARE_BOX.finditer(text))
        return [Place(m[1].rstrip("$."), Strength.MARKED, m.end()) for m in bare[-1:]]
    first = len(found) - 1
    joined = []
    while first and _BETWEEN_BOXES.fullmatch(between := text[found[first - 1][2] + 1 : found[first][0]]):
        if "\n" in between and not between.strip():
            break  # one below the other without a word: the last one counts
        joined.append("or" if re.search(r"\bor\b", between) else "and")
        first -= 1
    parts = tuple(dict.fromkeys(text[start:end].strip() for _, start, end in found[first:]))
    word = " or " if "or" in joined else ", "
    return [Place(word.join(parts), Strength.MARKED, found[-1][2] + 1, parts if len(parts) > 1 else ())]


def _json_value(text: str, at: int) -> tuple[str, int]:
    if text[at] == "'":
        end = text.find("'", at + 1)
        return (text[at + 1 : end], end + 1) if end > 0 else ("", at)
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text, at)
    except (ValueError, RecursionError):
        end = next((m.start() for m in re.finditer(r"[,}\n]", text[at : at + 400])), 0) + at
        return text[at:end].strip(" \"'"), end
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)), end


def states(lowered: str) -> bool:
    """Whether a text in lower case may say what its answer is."""
    for word in _STATING:  # noqa: SIM110 - a generator would cost as much again
        if word in lowered:
            return True
    return False


def boxed_last(text: str) -> str:
    """What stands in the text's only box where that ends it and is not the answer to a next question; else an empty text."""
    start = text.rfind("\\boxed{", -100)
    if start < 0 or text.count("boxed") > 1 or not (box := _LAST_BOX.fullmatch(text, start)):
        return ""
    return "" if "\n" in text[:start].strip() and _RUN_ON.search(text) else box[1]


_LAST_BOX = re.compile(r"\\boxed\{\s?([\w-]{1,20})\s?\}(?:\\[\])]|[$.*\s]){0,6}", re.ASCII)


def stated_places(text: str) -> Iterable[Place]:
    """The clauses in which the text says what its answer is, the last one first."""
    lowered = text.lower()
    if not states(lowered):
        return []
    found: list[tuple[int, Place]] = []
    for match in _STATED.finditer(text):
        if match["past"] or match["was"]:
            continue
        start = match.end()
        if (lead := _LEAD.match(text, start)) and not match["not"]:
            start = lead.end()
        end = clause_end(text, start)
        clause = text[start:end]
        if "would" in match[0] and _SUPPOSED.search(clause):
            continue
        if clause.strip():
            word = (
                "not " if match["not"] or _UNBELIEVED.search(text[max(0, match.start() - 40) : match.start()]) else ""
            )
            line = "" if word else text[match.end() : (text + "\n").index("\n", start)].lstrip(" \t\n:*")
            found.append((match.start(), Place(word + clause, Strength.STATED, end, line=line)))
    for match in _REVERSED.finditer(text) if _TURNED.search(lowered) else ():
        before = text[max(0, match.start() - 100) : match.start()]
        value = before[max((m.end() for m in _VALUE_START.finditer(before)), default=0) :]
        if value.strip() and not _NO_VALUE.search(value):
            found.append((match.start(), Place(value.strip(), Strength.SAID, match.end())))
    if len(found) > 1:
        found.sort(key=lambda item: item[0], reverse=True)
    return [place for _, place in found[:8]]


def clause_end(text: str, start: int) -> int:
    """Where the clause at `start` ends: at its full stop, semicolon or line's end, outside brackets of LaTeX."""
    if text.startswith("\\[", start) or text.startswith("$$", start):
        close = text.find("\\]" if text[start] == "\\" else "$$", start + 2)
        if close > 0:
            return close + 2
    match = _CLAUSE_END.search(text, start)
    return match.start() if match else len(text)


# -- 5. wrappers -------------------------------------------------------------------------------------------------------

_STYLED = re.compile(
    r"\\(?:text(?:bf|it|rm|tt|sf|normal)?|math(?:rm|bf|it|sf|tt|normal)|mbox|boldsymbol|bm|operatorname\*?|emph|underline|large|Large)\s?\{([^{}]*)\}"
)
_PLAIN_COMMANDS = re.compile(
    r"\\(?:displaystyle|textstyle|left|right|bigl|bigr|Bigl|Bigr|big|Big|limits|bf|rm)\b(?![a-zA-Z])\s?"
)
_DELIMITERS = re.compile(r"(?<!\\)\$\$?|(?<!\\)\\[()\[\]]")
_MONEY = re.compile(r"(?<![\\$\w])\$(?=-?\d[\d,. ]*(?:[.,;:!?)]*(?:\s|$)|[a-zA-Z*/]))")
_NO_MONEY = re.compile(r"(?<!\\)\$(?!\d)")
_FENCE = re.compile(r"```[a-zA-Z]*\n?|```")
_BOLD = re.compile(r"(?<![\w)}])(?:\*\*|__)|(?:\*\*|__)(?![\w({])")
_INSIDE = re.compile(r"[*_`$\\\"']")
_WRAPPED = re.compile(r"[*_`$\\\"']|[.,;:]\Z")
_LAYERS = 12  # of wrappers: more are no model's habit
QUOTES = "\"'`*_"


def unwrap(text: str, money: bool = True) -> str:
    """The text without what is wrapped around an answer or a part of it; `money`: a single `$` before a number stays."""
    text = text.strip()
    if not _INSIDE.search(text):  # nothing but a full stop can come off
        while len(text) > 1 and text[-1] in ".,;:" and (bare := text.rstrip(".,;:").rstrip()):
            text = bare
        return text
    for _ in range(_LAYERS):
        before = text
        text = text.strip()
        if not _WRAPPED.search(text):
            break
        if "\\" in text:
            if (whole := _ALL_STYLED.fullmatch(text)) and _is_one_group(whole[1]):
                text = whole[1]
            text = _PLAIN_COMMANDS.sub("", _STYLED.sub(_styled, text))
        if "$" in text or "\\" in text:
            if money and (text.count("$") - text.count("\\$") == 1 or not _NO_MONEY.search(text)):
                text = _MONEY.sub(r"\\$", text)
            text = _DELIMITERS.sub(" ", text)
        text = _FENCE.sub("", text) if "```" in text else text
        text = text.strip().strip("`")
        text = _BOLD.sub("", text) if "**" in text or "__" in text else text
        for mark in QUOTES:
            if len(text) > 1 and text[0] == mark == text[-1] and mark not in text[1:-1]:
                text = text[1:-1]
        if len(text) > 1 and text[-1] in ".,;:":
            bare = text.rstrip(".,;:")
            text = bare if bare and bare[-1] != "\\" else text
        if text == before:
            break
    return text


_ALL_STYLED = re.compile(r"\\(?:text(?:bf|it|rm|tt)?|math(?:rm|bf)) ?\{(.*)\}", re.DOTALL)


def _is_one_group(inside: str) -> bool:
    """Whether the brace before `inside` is closed by the one behind it and by none in it."""
    depth = 0
    for char in inside:
        depth += (char == "{") - (char == "}")
        if depth < 0:
            return False
    return depth == 0


def _styled(match: re.Match[str]) -> str:
    inner = match[1]
    if len(inner.strip()) <= 1:
        return inner
    return f" {inner.strip()} "


def extract_text(attempt: str) -> str | None:
    """The text in which an attempt's answer stands, without its wrappers; None for an attempt that has none."""
    found: list[str] = []

    def note(place: Place) -> Reading:
        text = unwrap(place.text)
        if text:
            found.append(text)
        return Reading(text or None, place.strength)

    return read(attempt, note).answer
