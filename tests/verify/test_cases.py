"""Attempts as instruct models write them, each with the verdict of somebody who read it; and what must hold for any attempt."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.errors import UsageError
from rl2f_hub.recipe import SourceSpec
from rl2f_hub.records import Privilege, Task
from rl2f_hub.tasks import request_for, stream
from rl2f_hub.tasks.reasoning_gym import entry_of
from rl2f_hub.verify import VERIFIERS, verify
from rl2f_hub.verify.answer import Strength, extract_text, without_scratch
from rl2f_hub.verify.exact import read_integer
from rl2f_hub.verify.mathematics import formula_of
from rl2f_hub.verify.quantity import read_quantity

CASES = [json.loads(line) for line in (Path(__file__).parent / "cases.jsonl").read_text(encoding="utf-8").splitlines()]


def task(verifier: str, reference: str, prompt: str = "What is asked?", **config: Any) -> Task:
    return Task("t", "test", "test", prompt, Privilege("answer", reference), verifier, json.dumps(config))


@pytest.mark.parametrize("verifier", sorted({case["verifier"] for case in CASES}))
def test_each_attempt_gets_the_verdict_of_its_reader(verifier: str) -> None:
    cases = [case for case in CASES if case["verifier"] == verifier]
    judged = [verify(task(verifier, c["reference"], **c["config"]), c["attempt"]).correct for c in cases]
    wrong = [c | {"judged": j} for c, j in zip(cases, judged, strict=True) if j != c["correct"]]
    assert not wrong, wrong


# -- one attempt, one answer -------------------------------------------------------------------------------------------

SENTENCES = (
    "The answer is {a}.", "The answer is {a}, not {b}.", "{a} and {b}", "{a} or {b}", "either {a} or {b}",
    "{a}, {b}", "{a} is wrong, it is {b}.",
    "I said {a}, but it is {b}.", "My previous answer was {a}, the answer is {b}.", "between {a} and {b}",
    "{a} to {b}", "{a}-{b}", "{a}/{b}",
    "{a} {b}", "{a}.{b}", "{a},{b}", "{a}^{b}", "{a} + {b}", "{a} * {b} = {c}", "{a} = {b}",
    "The answer is {a} = {b} + {c}.", "{a} < {b}",
    "\\boxed{{{a}}} or \\boxed{{{b}}}", "\\boxed{{{a}}} and then \\boxed{{{b}}}",
    "\\boxed{{\\frac{{{a}}}{{{b}}}}}", "<think>{a}</think>{b}",
    "maybe {a}, maybe {b}", "The answer is {a}. Wait, no: {b}.", "Not {a} but {b}.",
    "{a} apples and {b} pears", "There are {a} of {b}.",
    "{a} ({b})", "{a}\n{b}", "A: {a}\nB: {b}\nC: {c}", "#### {a}\n\nQuestion: more?\n#### {b}",
    "{{\"answer\": {a}, \"other\": {b}}}",
    "{a} more than {b}", "{a} less than {b} is {c}", "The GCD of {a} and {b} is {c}.", "{a} times {b}",
    "{a} out of {b}", "{a}:{b}", "x={a}, y={b}",
    "({a}, {b})", "{{{a}, {b}}}", "{a}e{b}", "{a} million {b}", "{a} {b}/{c}", "rather {a} than {b}", "${a} and {b} cents",
    "Is it {a} or {b}?", "I can't decide between {a} and {b}, so {c}.", "{a} is not {b}",
    "{a}... {b}... {c}", "the {a}th of {b}", "-{a} - {b}",
)  # fmt: skip


@pytest.mark.parametrize("verifier", ["integer", "math"])
def test_no_attempt_is_accepted_for_two_different_references(verifier: str) -> None:
    numbers = ("2", "7", "15", "408")
    for sentence in SENTENCES:
        for a, b, c in (("2", "7", "15"), ("7", "2", "408"), ("15", "408", "2")):
            attempt = sentence.format(a=a, b=b, c=c)
            paid = {n for n in (*numbers, f"{a}{b}", f"-{a}") if verify(task(verifier, n), attempt).correct}
            assert len({int(n) for n in paid}) < 2, (attempt, paid)


@given(st.sampled_from(SENTENCES), st.lists(st.integers(1, 9_999), min_size=3, max_size=3, unique=True))
def test_no_integer_is_read_that_is_not_written(sentence: str, numbers: list[int]) -> None:
    a, b, c = map(str, numbers)
    attempt = sentence.format(a=a, b=b, c=c)
    answer = read_integer(attempt).answer
    assert answer is None or answer.strip("-") in (a, b, c) or read_quantity(attempt) or int(answer) > 9_999, attempt


@pytest.mark.parametrize("letters", itertools.permutations("ABC", 2))
def test_no_choice_is_made_for_two_letters(letters: tuple[str, str]) -> None:
    for sentence in (
        "{0} or {1}",
        "either {0} or {1}",
        "({0}) or ({1})",
        "{0}/{1}",
        "{0}, {1}",
        "not {0}, {1}",
        "({0}), not ({1})",
    ):
        attempt = sentence.format(*letters)
        paid = [n for n in "ABC" if verify(task("choice", n, options=["x1", "y1", "z1"]), attempt).correct]
        assert len(paid) < 2, (attempt, paid)


@given(
    st.text(max_size=300)
    | st.lists(
        st.sampled_from(
            [
                *"0123456789abcAB.,:;!?()[]{}$\\^_/*-+=<>|&%'\"`#\n ",
                "answer is ",
                "\\boxed{",
                "\\frac",
                " or ",
                " not ",
                "####",
                "<think>",
                "</think>",
                "<answer>",
                "²",
                "½",
                "million",
                "🎉",
                "wait, ",
                "\\text{",
            ]
        ),
        max_size=40,
    ).map("".join)
)
def test_no_text_makes_a_reader_raise(text: str) -> None:
    for verifier, reference in (("integer", "408"), ("text", "plum"), ("choice", "B"), ("grid", "1 2\n3 4")):
        assert verify(task(verifier, reference), text).reason
    extract_text(text)
    read_quantity(text)
    without_scratch(text)


@given(
    st.lists(
        st.sampled_from(
            [
                *"0123456789xyab.,:;!()[]{}\\^_/*-+=<>|&% ",
                "\\frac{1}{2}",
                "\\sqrt{",
                "\\le ",
                "\\in ",
                "\\pm",
                "\\text{m}",
                "°",
                "²",
                "½",
                " or ",
                "\\begin{pmatrix}",
                "\\end{pmatrix}",
                "\\infty",
                "pi",
                "sin",
            ]
        ),
        max_size=14,
    ).map("".join)
)
def test_no_formula_makes_the_parser_raise(text: str) -> None:
    formula_of(text)


# -- thinking marks ----------------------------------------------------------------------------------------------------


def test_a_source_can_name_thinking_marks_of_its_own(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "Two and two?", "reference": "4"}), encoding="utf-8")
    named = {"verifier": "integer", "count": 1, "source": f"jsonl:{rows}"}
    plain = next(stream(request_for(SourceSpec(**named))))
    marked = next(stream(request_for(SourceSpec(**named, thinking_marks=[("(((", ")))")]))))
    assert "thinking_marks" not in plain.config
    assert verify(marked, "(((5))) 4").correct
    assert not verify(marked, "5 ((( 4").correct
    assert not verify(plain, "(((5))) is not it").correct


def test_an_unclosed_block_is_no_answer_for_any_verifier() -> None:
    for verifier in set(VERIFIERS) - {"environment"}:
        verdict = verify(task(verifier, "4"), "<think>4")
        assert not verdict.correct
        assert "thinking" in verdict.reason


# -- alternatives of a text --------------------------------------------------------------------------------------------


def test_accepted_spellings_come_from_a_column_or_the_recipe(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("q,a,more\nWhich city?,Köln,Cologne|Colonia\n", encoding="utf-8")
    source = {"source": f"csv:{rows}", "count": 1, "prompt": "q", "reference": "a"}
    by_column = next(stream(request_for(SourceSpec(**source, aliases="more"))))
    by_name = next(stream(request_for(SourceSpec(**source, aliases={"Köln": ["Cologne"]}, fold=True))))
    bare = next(stream(request_for(SourceSpec(**source))))
    assert bare.config == "{}"
    assert verify(by_column, "The city is Cologne.").correct
    assert verify(by_column, "Colonia").correct
    assert not verify(by_column, "Koln").correct
    assert verify(by_name, "koln").correct
    assert not verify(bare, "Cologne").correct


# -- references --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference", ["???", "5 x y is wrong (", "\\frac{1}{", "3 4 5", "x+", "about 5 or so, I think, 6"]
)
def test_a_reference_that_cannot_be_read_whole_is_a_bad_row(reference: str, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "Ask?", "reference": reference}), encoding="utf-8")
    with pytest.raises(UsageError, match="read as a whole"):
        next(stream(request_for(SourceSpec(source=f"jsonl:{rows}", count=1, verifier="math"))))


def test_the_last_place_of_a_kind_counts_and_says_how_plainly() -> None:
    assert read_integer("\\boxed{3}").strength is Strength.MARKED
    assert read_integer("The answer is 3.").strength is Strength.STATED
    assert read_integer("It is 3.").strength is Strength.SAID
    assert read_integer("I saw 3 birds in 4 trees").strength is Strength.LOOSE


@pytest.mark.parametrize(
    "name", ["gcd", "chain_sum", "decimal_arithmetic", "letter_counting", "spell_backward", "leg_counting"]
)
def test_scorers_get_the_answer_at_the_end_of_a_sentence(name: str) -> None:
    asked = next(stream(request_for(SourceSpec(source=f"reasoning_gym:{name}", count=1), seed=3)))
    right = str(entry_of(asked)["answer"])
    for sentence in ("The value is {}.", "So it is **{}**.", "\\boxed{{{}}}", "<think>1</think>The answer is {}."):
        assert verify(asked, sentence.format(right)).correct, sentence
    assert not verify(asked, f"The value is not {right}.").correct
