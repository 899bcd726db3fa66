"""The scripted teacher tells the truth about an attempt, and the controls do not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.errors import UsageError
from rl2f_hub.recipe.teacher_sections import TeacherSpec
from rl2f_hub.records import Privilege, Verdict
from rl2f_hub.teachers import build_teacher
from rl2f_hub.teachers.controls import LeakedTeacher, MisleadingTeacher, ShuffledTeacher
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.teachers.marks import (
    as_grid,
    as_items,
    as_number,
    mark_grid,
    mark_integer,
    mark_items,
    mark_number,
    mark_text,
)
from rl2f_hub.teachers.scripted import PHRASINGS, STRENGTHS, ScriptedTeacher

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
    marks = dict(re.findall(r"([a-z-]+) (\d (?:right|too low|too high))", reply.full))
    ours, theirs = str(abs(given_))[::-1], str(abs(wanted))[::-1]
    assert list(marks) == PLACES[: len(ours)][::-1]
    for place, a, b in zip(PLACES, ours, theirs, strict=False):
        assert marks[place] == f"{a} {'right' if a == b else 'too low' if a < b else 'too high'}"


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_what_is_said_of_sign_length_and_size_is_true(given_: int, wanted: int) -> None:
    reply = mark_integer(given_, wanted)
    digits = len(str(abs(given_))) - len(str(abs(wanted)))
    if "sign" in reply.full:
        assert (given_ < 0) != (wanted < 0)
    if "too few digits" in reply.full:
        assert digits < 0
    if "too many digits" in reply.full:
        assert digits > 0
    if reply.kind == "size":
        assert digits == 0
        assert ("low" in reply.full) == (given_ < wanted)


@pytest.mark.parametrize(
    ("given_", "wanted", "kind", "text"),
    [
        (152, 153, "digits", "hundreds 1 right, tens 5 right, units 2 too low"),
        (-5, 5, "sign", "the sign"),
        (0, 5, "digits", "units 0 too low"),
        (5, 55, "length", "too few digits"),
        (555, 55, "length", "too many digits"),
        (12_345_678, 12_345_679, "size", "too low"),
        (99_999_999_999, 12_345_678_901, "size", "too high"),
    ],
)
def test_marks(given_: int, wanted: int, kind: str, text: str) -> None:
    assert (mark_integer(given_, wanted).kind, mark_integer(given_, wanted).full) == (kind, text)


@pytest.mark.parametrize(
    ("given_", "wanted", "kind", "says"),
    [
        (
            "red pear",
            "red plum",
            "position",
            "the first word is right; word 2 is wrong; of the 2 words of the answer you",
        ),
        ("a b x d", "a b c d", "position", "the first 2 words are right; word 3 is wrong"),
        ("Red Pear", "red plum", "position", "the first word is right; word 2 is wrong"),
        ("plum red", "red plum", "order", "the right words in the wrong order, first at word 1"),
        ("rde plmu", "red plum", "spelling", "close in spelling, first wrong in word 1"),
        ("big pear", "red plum", "another", "of 2 words; none of yours belongs to it"),
        ("red", "red plum", "length", "what is there is right, but the answer is too short by 1 word"),
        ("red plum tree", "red plum", "length", "the first 2 words are right, but the answer is too long by 1 word"),
        ("the red plum", "plum", "length", "one word is asked for, not 3"),
        ("pear", "plum", "another", "another word is asked for, of the same length, beginning with the same letter"),
        ("fig", "plum", "another", "another word is asked for, 1 letter longer, beginning with another letter"),
        ("puppies", "puppy", "another", "another form of that word is asked for, 2 letters shorter"),
        ("42", "plum", "another", "a word of letters is asked for"),
        ("xlum", "plum", "spelling", "close in spelling: letter 1 is wrong"),
        ("PLUG", "plum", "spelling", "close in spelling: the first 3 letters are right; letter 4 is wrong"),
        ("puppi", "puppies", "length", "what is there is right, but the answer is too short by 2 letters"),
        ("olhel", "olleh", "order", "the right letters in the wrong order, first at letter 3"),
        ("a1b9", "a1c3", "position", "the first 2 characters are right; character 3 is wrong; 2 of your 4 characters"),
        ("red  plum", "red plum", "format", "form"),
    ],
)
def test_a_text_is_marked_where_it_departs(given_: str, wanted: str, kind: str, says: str) -> None:
    reply = mark_text(given_, wanted)
    assert reply.kind == kind
    assert says in reply.full


WORDS = st.lists(st.text("abAB", min_size=1, max_size=3), min_size=2, max_size=5).map(" ".join)


@given(WORDS, WORDS)
def test_what_is_said_of_words_is_true(given_: str, wanted: str) -> None:
    reply = mark_text(given_, wanted)
    a, b = given_.casefold().split(), wanted.casefold().split()
    assert (reply.kind == "format") == (a == b)
    if reply.kind == "position":
        place = int(re.search(r"word (\d+) is wrong", reply.full).group(1)) - 1  # type: ignore[union-attr]
        assert a[:place] == b[:place]
        assert a[place] != b[place]
    elif reply.kind == "length":
        assert a[: len(b)] == b or b[: len(a)] == a
        assert ("too short" in reply.full) == (len(a) < len(b))
    elif reply.kind == "order":
        assert sorted(a) == sorted(b)
    elif reply.kind == "another":
        assert not set(a) & set(b)


ONE_WORD = st.one_of(
    st.sampled_from(["plum", "puppy", "paris", "yes", "no", "olleh"]), st.text("abeh", min_size=1, max_size=7)
)


@given(ONE_WORD, ONE_WORD)
def test_what_is_said_of_one_word_is_true_and_not_the_word(given_: str, wanted: str) -> None:
    reply = mark_text(given_, wanted)
    said = reply.full
    assert (reply.kind == "format") == (given_ == wanted)
    if more := re.search(r"(\d+) letters? (longer|shorter)", said):
        assert len(wanted) - len(given_) == int(more[1]) * (1 if more[2] == "longer" else -1)
    if more := re.search(r"too (short|long) by (\d+) letter", said):
        assert len(wanted) - len(given_) == int(more[2]) * (1 if more[1] == "short" else -1)
    if "same length" in said:
        assert len(wanted) == len(given_)
    if wrong := re.search(r"letter (\d+) is wrong", said):
        assert given_[: int(wrong[1]) - 1] == wanted[: int(wrong[1]) - 1]
        assert given_[int(wrong[1]) - 1] != wanted[int(wrong[1]) - 1]
    if same := re.search(r"beginning with the same (\d*)", said):
        assert given_[: int(same[1] or 1)] == wanted[: int(same[1] or 1)]
    if "beginning with another" in said:
        assert given_[0] != wanted[0]
    if "wrong order" in said:
        assert sorted(given_) == sorted(wanted)


def test_a_weaker_teacher_says_less_of_a_word(situation: Make) -> None:
    asked = [situation("dog", "puppy"), situation("pupy", "puppy"), situation("plum red", "red plum")]
    said = {s: [r.text for r in ScriptedTeacher(s).feedback(asked) if r] for s in STRENGTHS}
    assert said["direction"] == [
        "Wrong: another word is asked for.",
        "Wrong: close in spelling.",
        "Wrong: the order of the words.",
    ]
    assert said["place"][:2] == [
        "Wrong: another word is asked for, a longer one.",
        "Wrong: close in spelling, but letter 4 is wrong.",
    ]
    assert said["full"][0] == "Wrong: another word is asked for, 2 letters longer, beginning with another letter."


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        ("dog", "puppy"),
        ("pupy", "puppy"),
        ("puppi", "puppies"),
        ("olhel", "olleh"),
        ("yes", "no"),
        ("no", "yes"),
        ("true", "false"),
        ("a1b9", "a1c3"),
        ("Milan", "Rome"),
        ("the city of Milan", "Rome"),
        ("Francis Bacon", "William Shakespeare"),
        ("Wiliam Shakespere", "William Shakespeare"),
        ("Shakespeare William", "William Shakespeare"),
        ("William", "William Shakespeare"),
        ("nephew", "mother-in-law"),
    ],
)
def test_the_guard_lets_words_about_words_pass(situation: Make, strength: str, given_: str, wanted: str) -> None:
    guard = Guard()
    (feedback,) = guard.pass_on(ScriptedTeacher(strength), [situation(given_, wanted)])
    assert feedback is not None
    assert not feedback.leaked
    assert guard.counts["passed"] == 1


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


def test_shuffled_gives_words_about_another_question_of_the_same_kind(situation: Make) -> None:
    given_ = [11, 12, 13, 14, 5, 500, 6]
    asked = [situation(str(n), "34", question=f"Question {n}?") for n in given_]
    asked.append(situation("x", "34", answer=None, question="Alone?"))
    scripted, shuffled = ScriptedTeacher().feedback(asked), ShuffledTeacher().feedback(asked)
    assert [r.kind for r in scripted[:-1] if r] == [r.kind for r in shuffled[:-1] if r]
    digits = [i for i, r in enumerate(scripted) if r and r.kind == "digits"]
    assert len(digits) == 4
    for i in digits:
        assert shuffled[i] in [scripted[j] for j in digits if j != i]


@given(st.lists(st.tuples(st.integers(-999, 999), st.integers(0, 999), st.integers(0, 3)), max_size=12))
def test_shuffled_never_gives_words_about_the_students_own_question(
    situation: Make, rows: list[tuple[int, int, int]]
) -> None:
    """Unless they happen to be the same words: what is compared is whom they were said to."""
    teacher = ShuffledTeacher()
    for _ in range(2):
        asked = [situation(str(a), str(b), question=f"Question {q}?") for a, b, q in rows]
        scripted, shuffled = ScriptedTeacher().feedback(asked), teacher.feedback(asked)
        for own, heard, mine in zip(scripted, shuffled, asked, strict=True):
            assert heard is not None
            others = {r.text for r, s in zip(scripted, asked, strict=True) if r and s.question != mine.question}
            if own and own.kind == heard.kind and any(r.kind == own.kind for r in scripted if r and r.text in others):
                assert heard.text in others


def test_someone_alone_in_a_batch_does_not_hear_the_truth(situation: Make) -> None:
    for n in range(100, 140):
        asked = [situation(str(n), "734")]
        (truth,), (heard,) = ScriptedTeacher().feedback(asked), ShuffledTeacher().feedback(asked)
        assert truth is not None
        assert heard is not None
        assert truth.kind == heard.kind
    heard_all = {ShuffledTeacher().feedback([situation("500", "734", question=f"{q}?")])[0] for q in range(20)}
    assert len(heard_all) > 3


def test_leaked_states_the_answer_and_misleading_does_not_follow_it(situation: Make) -> None:
    (reply,) = LeakedTeacher().feedback([situation("15", "34")])
    assert reply is not None
    assert reply.text == "Wrong. The answer is 34"
    asked = [situation(str(n), "734", seed=n) for n in range(100, 600)]
    honest = ScriptedTeacher().feedback(asked)
    for rate in (0.0, 0.3, 1.0):
        lies = MisleadingTeacher(rate).feedback(asked)
        assert MisleadingTeacher(rate).feedback(list(reversed(asked)))[::-1] == lies
        share = sum(a != b for a, b in zip(honest, lies, strict=True)) / len(asked)
        assert rate * 0.6 <= share <= rate + 0.1  # a false hint can be worded like the true one
        doubts = MisleadingTeacher(rate).challenge_correct(asked)
        assert abs(sum(d is not None for d in doubts) / len(asked) - rate) < 0.1
    with pytest.raises(UsageError, match=r"teacher\.rate: 1\.5 is refused"):
        MisleadingTeacher(1.5)


# -- strengths, phrasings, other shapes of answers -----------------------------------------------------------------


def test_a_stronger_teacher_says_more(situation: Make) -> None:
    asked = [situation("152", "193"), situation("1, 2, 4", "1, 2, 3"), situation("0.25", "0.75")]
    said = {s: [r.text for r in ScriptedTeacher(s).feedback(asked) if r] for s in STRENGTHS}
    assert said["direction"] == ["Wrong: too low.", "Wrong: one or more items.", "Wrong: too low."]
    assert said["place"][:2] == ["Wrong: tens 5 too low.", "Wrong: item 3."]
    assert said["full"][0] == "Wrong: hundreds 1 right, tens 5 too low, units 2 too low."
    with pytest.raises(UsageError, match=r"teacher\.strength: 'loud'"):
        ScriptedTeacher("loud")


def test_phrasings_vary_by_seed_and_turn_and_not_by_batch(situation: Make) -> None:
    asked = [situation("152", "193", seed=n) for n in range(60)]
    said = ScriptedTeacher(phrasings=len(PHRASINGS)).feedback(asked)
    assert len({r.text for r in said if r}) == len(PHRASINGS)
    assert ScriptedTeacher(phrasings=len(PHRASINGS)).feedback(asked[7:8]) == said[7:8]
    with pytest.raises(UsageError, match=r"teacher\.phrasings: 9"):
        ScriptedTeacher(phrasings=9)


NUMBERS = st.fractions(-1000, 1000, max_denominator=500)


@given(NUMBERS, NUMBERS)
def test_what_is_said_of_a_number_is_true(given_: Fraction, wanted: Fraction) -> None:
    found = mark_number(given_, wanted)
    for text in (found.direction, found.place, found.full):
        if "too low" in text:
            assert given_ < wanted
        if "too high" in text:
            assert given_ > wanted
    if found.kind == "sign":
        assert given_ * wanted < 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", Fraction(1, 2)),
        (r"\frac{1}{2}", Fraction(1, 2)),
        ("-3/4", Fraction(-3, 4)),
        ("50 %", Fraction(1, 2)),
        ("1,234.5", Fraction(2469, 2)),
        ("$7$", Fraction(7)),
        ("1/0", None),
        ("plum", None),
        ("1 2", Fraction(12)),
    ],
)
def test_numbers_are_read_exactly(text: str, value: Fraction | None) -> None:
    assert as_number(text) == value


ITEMS = st.lists(st.sampled_from("abcd"), min_size=2, max_size=6)


@given(ITEMS, ITEMS)
def test_what_is_said_of_a_list_is_true(given_: list[str], wanted: list[str]) -> None:
    found = mark_items(given_, wanted)
    if found.kind == "order":
        assert sorted(given_) == sorted(wanted)
        assert given_ != wanted
    elif found.kind == "length":
        assert len(given_) != len(wanted)
    elif found.kind == "position":
        place = int(found.place.split()[-1]) - 1
        assert given_[:place] == wanted[:place]
        assert given_[place] != wanted[place]
    else:
        assert given_ == wanted


def test_lists_and_grids_are_recognised_in_their_usual_forms() -> None:
    for text in ("[1, 2, 3]", "1, 2, 3", "['1', '2', '3']", "(1, 2, 3)", '["1","2","3"]'):
        assert as_items(text) == ["1", "2", "3"]
    assert as_items("a sentence") is None
    assert as_items("[unclosed") is None
    assert as_grid("1 2\n3 4") == as_grid("12\n34") == [["1", "2"], ["3", "4"]]
    assert as_grid("1 2\n3") is None
    assert mark_grid([["1", "2"], ["3", "4"]], [["1", "2"], ["3", "5"]]).place == "row 2, column 2"
    assert mark_grid([["1", "2"]] * 2, [["1", "2", "3"]] * 2).kind == "shape"


def test_many_right_answers_give_no_false_marks(situation: Make) -> None:
    """The difference from one right answer says nothing about another."""
    (reply,) = ScriptedTeacher().feedback([situation("RRDD", "DDRR", one_answer=False)])
    assert reply is not None
    assert reply.kind == "conditions"


def test_a_program_is_told_the_failing_call_and_never_what_was_expected(situation: Make) -> None:
    private = "f([1, 2]) returned 4\ntest: assert f([1, 2]) == 377\nAssertionError"
    verdict = Verdict(False, 0.5, "def f(x): return 4", "test 2 of 7 failed: wrong value", private)
    (reply,) = ScriptedTeacher().feedback(
        [replace(situation("4", ""), verdict=verdict, privilege=Privilege("tests", "", "", "{}"))]
    )
    assert reply is not None
    assert reply.text == "Wrong: test 2 of 7 failed: wrong value; f([1, 2]) returned 4."
    private = "input: 3\n4\nexpected: 377\nprinted: 5\n"
    verdict = replace(verdict, reason="test 1 of 2 failed: wrong output", observation=private)
    (reply,) = ScriptedTeacher().feedback(
        [replace(situation("4", ""), verdict=verdict, privilege=Privilege("tests", "", "", "{}"))]
    )
    assert reply is not None
    assert "377" not in reply.text
    assert "'3\\n4'" in reply.text
    assert "'5'" in reply.text


@pytest.mark.parametrize("kind", ["scripted", "none", "try_again", "shuffled", "leaked", "careless", "misleading"])
def test_recipes_name_teachers(kind: str) -> None:
    assert build_teacher(kind).name == kind


def test_an_unknown_teacher_is_a_usage_error() -> None:
    with pytest.raises(
        UsageError,
        match=r"teacher\.kind: 'oracle' is unknown; known: .*misleading, model, none, python:<file>:<name>, scripted",
    ):
        build_teacher("oracle")


def test_a_careless_teacher_slips_at_its_rate_and_only_the_guard_stops_it(situation: Make) -> None:
    asked = [situation("412", "408", seed=seed) for seed in range(300)]
    for kind, reaches in (("careless", False), ("leaked", True)):
        teacher, guard = build_teacher(TeacherSpec(kind=kind, rate=0.3)), Guard()
        said = teacher.feedback(asked)
        stated = [reply is not None and "408" in reply.text for reply in said]
        assert 60 < sum(stated) < 120
        assert said == teacher.feedback(asked)
        heard = [f is not None and "408" in f.text for f in guard.pass_on(teacher, asked)]
        assert heard == (stated if reaches else [False] * 300)
        assert bool(guard.counts["retried"]) != reaches
