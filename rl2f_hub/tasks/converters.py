"""Rows of the presets that need more than renaming: worked solutions, answers that a rule can check, grids.

A converter takes a row and the source's `config` and gives the row with `_prompt`, `_reference`, `_solution`, `_tests`
added; None for a row that is no task for us (counted as filtered); ValueError for one that is broken (a bad row).
Converters of code with tests are in `code_converters.py`.
"""

from __future__ import annotations

import re
from typing import Any

from rl2f_hub.tasks.columns import column_of

Row = dict[str, Any]


def gsm8k(row: Row, config: Row) -> Row:
    """The number after `####` is the reference; the worked solution is kept without its calculator notes."""
    worked, mark, answer = string_of(row, "answer").rpartition("####")
    if not mark or not answer.strip():
        raise ValueError(f"column 'answer' is {answer[-40:]!r}, it must end in `#### <answer>`")
    solution = re.sub(r"<<[^<>]*>>", "", worked).strip()
    return row | {"_reference": answer.strip().replace(",", ""), "_solution": solution}


def omni_math(row: Row, config: Row) -> Row | None:
    """Only problems whose answer a rule can check; see the preset's note."""
    answer = string_of(row, "answer").strip()
    words = re.findall(r"[A-Za-z]{3,}", re.sub(r"\\[A-Za-z]+", " ", answer))
    proof = re.search(r"\b(?:prove|show that)\b", string_of(row, "problem"), re.IGNORECASE)
    return None if not answer or len(answer) > 150 or words or proof else row


def human_eval(row: Row, config: Row) -> Row:
    """HumanEval's own row form."""
    from rl2f_hub.tasks import human_eval as source

    return source.convert(row)


def arc_agi(row: Row, config: Row) -> Row:
    """Pairs of grids as text; every test grid of the row is asked for, and counts."""
    from rl2f_hub.verify.grid import as_text

    def text(pair: Any, side: str) -> str:
        cells = pair.get(side) if isinstance(pair, dict) else None
        if not isinstance(cells, list) or not cells or any(not isinstance(r, list) or not r for r in cells):
            raise ValueError(f"a pair's {side!r} is no grid")
        if len({len(r) for r in cells}) != 1 or any(type(c) is not int or not 0 <= c <= 9 for r in cells for c in r):
            raise ValueError(f"a pair's {side!r} is no rectangle of the digits 0 to 9")
        return as_text(tuple(map(tuple, cells)))

    shown, asked = row.get("train"), row.get("test")
    if not isinstance(shown, list) or not isinstance(asked, list) or not shown or not asked:
        raise ValueError("columns 'train' and 'test' must be lists of pairs of grids")
    parts = ["Each input grid below becomes its output grid by one rule. Find the rule."]
    parts += [f"Input {i}\n{text(p, 'input')}\n\nOutput {i}\n{text(p, 'output')}" for i, p in enumerate(shown, 1)]
    parts += [f"Test input{f' {i}' if len(asked) > 1 else ''}\n{text(p, 'input')}" for i, p in enumerate(asked, 1)]
    grids = "the output grid" if len(asked) == 1 else "the output grids, in order and with an empty line between them,"
    parts.append(f"Write {grids} of the test at the end of your answer, one row a line, a space between cells.")
    return row | {"_prompt": "\n\n".join(parts), "_reference": "\n\n".join(text(p, "output") for p in asked)}


def string_of(row: Row, name: str) -> str:
    """A column that must be a text; ValueError else."""
    value = column_of(row, name)
    if not isinstance(value, str):
        raise ValueError(f"column {name!r} is {str(value)[:60]!r} ({type(value).__name__}), a text is needed")
    return value


def strings_of(row: Row, name: str) -> list[str]:
    """A column that must be a list of texts; ValueError else."""
    value = column_of(row, name)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"column {name!r} is {str(value)[:60]!r}, a list of texts is needed")
    return value
