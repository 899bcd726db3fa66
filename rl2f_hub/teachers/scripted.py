"""The scripted teacher: feedback computed from privilege and attempt, without a model.

Whole numbers are marked digit by digit (right, too low, too high), any other answer by the first place where it
departs from the reference. It quotes only what the student wrote, so the student has to act on the words; the answer
itself is never said, though enough feedback narrows it down: that is what feedback is for.
"""

from __future__ import annotations

from collections.abc import Sequence

from rl2f_hub.teachers import Reply, Situation
from rl2f_hub.verify.extract import as_integer

PLACES = ("units", "tens", "hundreds", "thousands", "ten-thousands", "hundred-thousands", "millions")


class ScriptedTeacher:
    """Marks what is wrong with the last attempt and in which direction."""

    name = "scripted"

    def feedback(self, situations: Sequence[Situation]) -> list[Reply | None]:
        return [self._one(s) for s in situations]

    def _one(self, s: Situation) -> Reply | None:
        answer = s.verdict.answer
        reference = s.privilege.reference
        if answer is None:
            return Reply("I cannot find an answer in that. Give only the answer.", "format")
        wanted, given = as_integer(reference), as_integer(answer)
        if wanted is not None:
            if given is None:
                return Reply("The answer must be a whole number. Give only the number.", "format")
            return mark_integer(given, wanted)
        return mark_text(answer, reference)


def mark_integer(given: int, wanted: int) -> Reply:
    """Digit-wise marks, or a word about sign, length or size when there are no digits to mark one by one."""
    if given == wanted:
        return Reply("The number is right, but it is not written as asked.", "format")
    if (given < 0) != (wanted < 0):
        return Reply("Wrong: the sign.", "sign")
    ours, theirs = str(abs(given)), str(abs(wanted))
    if len(ours) != len(theirs):
        many = "few" if abs(given) < abs(wanted) else "many"
        return Reply(f"Wrong: too {many} digits.", "length")
    if len(ours) > len(PLACES):
        return Reply(f"Wrong: too {'low' if given < wanted else 'high'}.", "size")
    marks = []
    for place, a, b in zip(reversed(PLACES[: len(ours)]), ours, theirs, strict=True):
        marks.append(f"{place} {a} {'right' if a == b else 'too low' if a < b else 'too high'}")
    return Reply(f"Wrong: {', '.join(marks)}.", "digits")


def mark_text(given: str, wanted: str) -> Reply:
    """The first word (or, in one-word answers, character) at which the answer departs from the reference."""
    a, b, unit = given.split(), wanted.split(), "word"
    if len(b) <= 1:
        a, b, unit = list(given), list(wanted), "character"
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x.casefold() != y.casefold():
            right = f"The first {i} {unit}s are right; " if i > 1 else f"The first {unit} is right; " if i else ""
            return Reply(f"Wrong. {right}{unit} {i + 1} is wrong.", "position")
    if len(a) == len(b):
        return Reply("Wrong. The answer is not written in the form that was asked for.", "format")
    return Reply(
        f"Wrong. What is there is right, but the answer is too {'short' if len(a) < len(b) else 'long'}.", "length"
    )
