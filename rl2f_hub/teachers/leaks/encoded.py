"""Forms in which a reference hides: reversed, or in a code that a reader can undo at once."""

from __future__ import annotations

import base64
import codecs
import contextlib
import re
from functools import lru_cache

from rl2f_hub.teachers.leaks.reading import Reading, states
from rl2f_hub.teachers.leaks.secret import Known, Secret, whole

_BACKWARDS = re.compile(
    r"\b(?:reverse[ds]?|backwards?|mirror(?:ed)?|right[- ]to[- ]left|back to front|other way round|end to (?:start|front))\b"
)
_BLOCK = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{4,}={0,2}")
_ROMAN = (
    (1000, "m"),
    (900, "cm"),
    (500, "d"),
    (400, "cd"),
    (100, "c"),
    (90, "xc"),
    (50, "l"),
    (40, "xl"),
    (10, "x"),
    (9, "ix"),
    (5, "v"),
    (4, "iv"),
    (1, "i"),
)


def backwards(reading: Reading, secret: Secret, known: Known) -> bool:
    """The reference from its end, or the words of a phrase in reverse order.

    Numbers of at most three digits and words of at most three letters need a word that says so ("backwards"): 24 is
    not 42 by itself.
    """
    own = secret.written if secret.kind == "number" else secret.plain
    if len(own) < 2 or secret.kind in ("grid", "choice"):
        return False
    text = reading.plain
    turned = {own[::-1], secret.plain[::-1]}
    turned |= {" ".join(secret.words[::-1])} if secret.kind == "phrase" and len(secret.words) > 3 else set()
    cue = bool(_BACKWARDS.search(text))
    turned -= set() if cue else {own, secret.plain}
    for form in turned:
        if form not in text:
            continue
        seen = form in known.plain
        if _known(secret, known) and not cue:
            seen = True
        for m in whole(re.escape(form)).finditer(text):
            if cue or (not seen and len(own) > 3) or (len(own) > 3 and states(text, m.start(), m.end())):
                return True
    return False


def encoded(reading: Reading, secret: Secret, known: Known) -> bool:
    """base64, base32, hexadecimal, rot13, per cent and character codes, binary, octal and Roman numerals."""
    if len(secret.text) < 2 or secret.kind == "grid":
        return False
    lower, seen = reading.raw.casefold(), known.raw.casefold()
    codes = [code for code in _codes(secret.text) if code in lower and code not in seen]
    if any(whole(re.escape(code)).search(lower) for code in codes):
        return True
    if secret.integer is not None and _other_base(reading.raw, lower, abs(secret.integer), seen):
        return True
    return any(secret.literal.search(text) for text in _decoded(reading.raw))


def _known(secret: Secret, known: Known) -> bool:
    if secret.kind == "number":
        return secret.written in known.written
    return bool(secret.loose.search(known.plain))


@lru_cache(maxsize=4096)
def _codes(text: str) -> frozenset[str]:
    """What stands for the whole text, in lower case; codes that could be said by chance are left out."""
    data = text.encode()
    out = {base64.b32encode(data).decode().rstrip("="), data.hex(), data.hex(" "), data.hex(":"), data.hex("-")}
    out |= {" ".join(str(b) for b in data), ", ".join(str(b) for b in data), "-".join(str(b) for b in data)}
    out |= {"".join(f"\\x{b:02x}" for b in data), "".join(f"\\u{ord(c):04x}" for c in text)}
    out |= {" ".join(f"{b:08b}" for b in data)}
    turned = codecs.encode(text, "rot13")
    if turned != text and len(text) > 2:
        out.add(turned)
    return frozenset(code.casefold() for code in out if len(code) > 3)


def _other_base(raw: str, lower: str, size: int, seen: str) -> bool:
    if size < 10:
        return False
    binary, numeral = f"{size:b}", _roman(size)
    forms = [f"0x{size:x}", f"0b{binary}", f"0o{size:o}"]
    forms += [binary] if size >= 64 or "binary" in lower else []
    forms += [f"{size:x}"] if "hex" in lower else []
    forms += [f"{size:o}"] if "octal" in lower else []
    if numeral and ("roman" in lower or (len(numeral) > 2 and numeral.upper() in raw)):
        forms.append(numeral)
    return any(f in lower and f not in seen and whole(re.escape(f)).search(lower) for f in forms)


def _roman(value: int) -> str:
    if not 0 < value < 4000:
        return ""
    out = ""
    for size, letters in _ROMAN:
        out += letters * (value // size)
        value %= size
    return out


def _decoded(raw: str) -> list[str]:
    """What blocks of base64 and hexadecimal in the text say, where they say something readable."""
    out = []
    for block in _BLOCK.findall(raw):
        if block.isalpha() and block.islower():
            continue  # an ordinary word
        bare = block.rstrip("=").replace("-", "+").replace("_", "/")
        with contextlib.suppress(ValueError):  # no base64, or no text
            out.append(base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True).decode().casefold())
        if re.fullmatch(r"(?:[0-9a-fA-F]{2}){2,}", block):
            out.append(bytes.fromhex(block).decode(errors="replace").casefold())
    return [text for text in out if text.isprintable()]
