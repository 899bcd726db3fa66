"""Verifiers that compare what was extracted with the reference: whole numbers, texts, multiple choice."""

from __future__ import annotations

import json
import re

from rl2f_hub.records import Task, Verdict
from rl2f_hub.verify.base import Verifier
from rl2f_hub.verify.extract import as_integer, extract_integer, extract_text, is_listing, places

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# (B) or B) anywhere; B. or B: at the start of a line; "option B". A bare capital is an article or a pronoun.
_MARKED = re.compile(r"\(?\b([A-Z])\)|^[ \t*]*([A-Z])[.:*]|\b(?:option|choice|letter)\s([A-Z])\b", re.MULTILINE)
_BARE = re.compile(r"\b[A-Z]\b")


def integer(task: Task, attempt: str) -> Verdict:
    """Right when the whole number that the attempt commits to equals the reference."""
    answer = extract_integer(attempt)
    if answer is None:
        return Verdict(False, 0.0, None, "no single whole number in the attempt")
    correct = int(answer) == _reference_number(task)
    return Verdict(correct, float(correct), answer, "equal to the reference" if correct else "another number")


def check_integer(task: Task) -> None:
    _reference_number(task)


def _reference_number(task: Task) -> int:
    wanted = as_integer(task.privilege.reference)
    if wanted is None:
        raise ValueError(f"reference {task.privilege.reference[:60]!r} is not a whole number")
    return wanted


def text(task: Task, attempt: str) -> Verdict:
    """Right when the extracted text equals the reference, case, runs of white space and a closing full stop aside."""
    answer = extract_text(attempt)
    if answer is None:
        return Verdict(False, 0.0, None, "empty attempt")
    correct = _plain(answer) == _plain(task.privilege.reference)
    return Verdict(correct, float(correct), answer, "equal to the reference" if correct else "another text")


def check_text(task: Task) -> None:
    if not _plain(task.privilege.reference):
        raise ValueError("the reference is empty")


def _plain(value: str) -> str:
    return " ".join(value.split()).casefold().rstrip(".")


def choice(task: Task, attempt: str) -> Verdict:
    """Right when the attempt commits to the letter of the reference, or to that option's own words.

    The letter after the last "answer is" or in the last box counts, else the last one marked as a choice: `(B)`, `B.`
    at the start of a line, "option B". A mere list of letters commits to none.
    """
    options: list[str] = json.loads(task.config).get("options", [])
    letters = LETTERS[: len(options) or 26]
    said = _plain(extract_text(attempt) or "")
    for letter, option in zip(letters, options, strict=False):
        if said and said == _plain(option):
            return _chosen(task, letter)
    for place, explicit in places(attempt):
        core = place.strip(" \t\n()[].:`*$").upper()
        if len(core) == 1 and core in letters:
            return _chosen(task, core)
        if is_listing(place, _BARE):
            return Verdict(False, 0.0, None, "several letters, none of them chosen")
        if explicit and (first := re.match(r"[\s(*`$]*([A-Z])\b", place)) and first[1] in letters:
            return _chosen(task, first[1])
        found = [letter for groups in _MARKED.findall(place) for letter in groups if letter and letter in letters]
        if found:
            return _chosen(task, found[-1])
    return Verdict(False, 0.0, None, "no letter of a choice in the attempt")


def check_choice(task: Task) -> None:
    options = json.loads(task.config).get("options", [])
    reference = task.privilege.reference.strip()
    if len(reference) != 1 or reference not in LETTERS[: len(options) or 26]:
        raise ValueError(f"reference {reference[:60]!r} is not the letter of one of {len(options)} choices")


def _chosen(task: Task, letter: str) -> Verdict:
    correct = letter == task.privilege.reference.strip()
    return Verdict(correct, float(correct), letter, "the right choice" if correct else "another choice")


INTEGER = Verifier(integer, check_integer)
TEXT = Verifier(text, check_text)
CHOICE = Verifier(choice, check_choice)
