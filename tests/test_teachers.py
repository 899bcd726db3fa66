"""The scripted teacher tells the truth about an attempt, and the controls do not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.errors import UsageError
from rl2f_hub.teachers import build_teacher
from rl2f_hub.teachers.controls import ShuffledTeacher
from rl2f_hub.teachers.scripted import ScriptedTeacher, mark_integer, mark_text

Make = Callable[..., Any]
PLACES = ["units", "tens", "hundreds", "thousands", "ten-thousands", "hundred-thousands", "millions"]


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(*[st.integers(10 ** (n - 1), 10**n - 1)] * 2)), st.booleans())
def test_every_digit_is_marked_and_every_mark_is_true(pair: tuple[int, int], negative: bool) -> None:
    given_, wanted = (-p if negative else p for p in pair)
    reply = mark_integer(given_, wanted)
    if given_ == wanted:
        assert reply.kind == "format"
        return
    assert reply.kind == "digits"
    marks = dict(re.findall(r"([a-z-]+) (\d (?:right|too low|too high))", reply.text))
    ours, theirs = str(abs(given_))[::-1], str(abs(wanted))[::-1]
    assert list(marks) == PLACES[: len(ours)][::-1]
    for place, a, b in zip(PLACES, ours, theirs, strict=False):
        assert marks[place] == f"{a} {'right' if a == b else 'too low' if a < b else 'too high'}"


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_what_is_said_of_sign_length_and_size_is_true(given_: int, wanted: int) -> None:
    reply = mark_integer(given_, wanted)
    digits = len(str(abs(given_))) - len(str(abs(wanted)))
    if "sign" in reply.text:
        assert (given_ < 0) != (wanted < 0)
    if "too few digits" in reply.text:
        assert digits < 0
    if "too many digits" in reply.text:
        assert digits > 0
    if reply.kind == "size":
        assert digits == 0
        assert ("low" in reply.text) == (given_ < wanted)


@pytest.mark.parametrize(
    ("given_", "wanted", "kind", "text"),
    [
        (152, 153, "digits", "Wrong: hundreds 1 right, tens 5 right, units 2 too low."),
        (-5, 5, "sign", "Wrong: the sign."),
        (0, 5, "digits", "Wrong: units 0 too low."),
        (5, 55, "length", "Wrong: too few digits."),
        (555, 55, "length", "Wrong: too many digits."),
        (12_345_678, 12_345_679, "size", "Wrong: too low."),
        (99_999_999_999, 12_345_678_901, "size", "Wrong: too high."),
    ],
)
def test_marks(given_: int, wanted: int, kind: str, text: str) -> None:
    assert (mark_integer(given_, wanted).kind, mark_integer(given_, wanted).text) == (kind, text)


@pytest.mark.parametrize(
    ("given_", "wanted", "kind", "says"),
    [
        ("red pear", "red plum", "position", "The first word is right; word 2 is wrong."),
        ("a b x d", "a b c d", "position", "The first 2 words are right; word 3 is wrong."),
        ("pear", "plum", "position", "The first character is right; character 2 is wrong."),
        ("xlum", "plum", "position", "Wrong. character 1 is wrong."),
        ("red", "red plum", "length", "too short"),
        ("red plum tree", "red plum", "length", "too long"),
        ("Red Pear", "red plum", "position", "The first word is right; word 2 is wrong."),
        ("PLUG", "plum", "position", "The first 3 characters are right; character 4 is wrong."),
        ("red  plum", "red plum", "format", "form"),
    ],
)
def test_a_text_is_marked_where_it_departs(given_: str, wanted: str, kind: str, says: str) -> None:
    reply = mark_text(given_, wanted)
    assert reply.kind == kind
    assert says in reply.text


WORDS = st.lists(st.text("abAB", min_size=1, max_size=3), min_size=2, max_size=5).map(" ".join)


@given(WORDS, WORDS)
def test_the_position_named_is_the_first_that_differs(given_: str, wanted: str) -> None:
    reply = mark_text(given_, wanted)
    a, b = given_.casefold().split(), wanted.casefold().split()
    if reply.kind == "position":
        place = int(re.search(r"word (\d+) is wrong", reply.text).group(1)) - 1  # type: ignore[union-attr]
        assert a[:place] == b[:place]
        assert a[place] != b[place]
    elif reply.kind == "length":
        assert a != b
        assert a[: len(b)] == b or b[: len(a)] == a
    else:
        assert a == b


def test_an_attempt_without_an_answer_is_told_the_format(situation: Make) -> None:
    replies = ScriptedTeacher().feedback([situation("well", "34", answer=None), situation("pear", "34")])
    assert [r.kind for r in replies if r] == ["format", "format"]
    assert "find" in replies[0].text
    assert "whole number" in replies[1].text


@given(st.data())
def test_the_scripted_teacher_never_says_the_answer(situation: Make, data: st.DataObject) -> None:
    """At least two digits: a mark quotes single digits of the attempt, and one of those may be the answer's."""
    wanted = data.draw(st.integers(10, 10**9))
    given_ = data.draw(st.integers(-(10**9), 10**9).filter(lambda n: n != wanted))
    (reply,) = ScriptedTeacher().feedback([situation(str(given_), str(wanted))])
    assert reply is not None
    assert str(wanted) not in re.findall(r"\d+", reply.text)


def test_words_depend_on_the_last_attempt_and_the_reference_alone(situation: Make) -> None:
    one = situation("15", "34")
    other = situation("15", "34", attempts=("1", "2", "15"), feedbacks=("x", "y"), seed=9, question="Else?")
    assert ScriptedTeacher().feedback([one]) == ScriptedTeacher().feedback([other])


def test_try_again_says_the_same_to_everyone(situation: Make) -> None:
    replies = build_teacher("try_again").feedback([situation("5", "34"), situation("pear", "plum")])
    assert len(set(replies)) == 1
    assert "34" not in replies[0].text


def test_shuffled_gives_the_scripted_words_to_others_of_the_same_kind(situation: Make) -> None:
    asked = [situation(str(n), "34") for n in (11, 12, 13, 14, 5, 500, 6)] + [situation("x", "34", answer=None)]
    scripted, shuffled = ScriptedTeacher().feedback(asked), ShuffledTeacher().feedback(asked)
    assert Counter(scripted) == Counter(shuffled)
    assert [r.kind for r in scripted if r] == [r.kind for r in shuffled if r]
    digits = [i for i, r in enumerate(scripted) if r and r.kind == "digits"]
    assert len(digits) == 4
    assert all(scripted[i] != shuffled[i] for i in digits)


@given(st.lists(st.tuples(st.integers(-999, 999), st.integers(-999, 999)), max_size=12))
def test_shuffled_is_a_permutation_within_kind(situation: Make, pairs: list[tuple[int, int]]) -> None:
    asked = [situation(str(a), str(b)) for a, b in pairs]
    scripted, shuffled = ScriptedTeacher().feedback(asked), ShuffledTeacher().feedback(asked)
    assert Counter(scripted) == Counter(shuffled)
    assert [r and r.kind for r in scripted] == [r and r.kind for r in shuffled]


@pytest.mark.parametrize("kind", ["scripted", "try_again", "shuffled"])
def test_recipes_name_teachers(kind: str) -> None:
    assert build_teacher(kind).name == kind


def test_an_unknown_teacher_is_a_usage_error() -> None:
    with pytest.raises(
        UsageError, match=r"teacher\.kind: 'oracle' is unknown; choose one of scripted, shuffled, try_again"
    ):
        build_teacher("oracle")
