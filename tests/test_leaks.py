"""The detectors: every form of a leak is found under its name, and innocent feedback of the hard kinds is not."""

from __future__ import annotations

import base64
import codecs
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl2f_hub.records import Privilege
from rl2f_hub.sandbox.jobs import CodeTests
from rl2f_hub.teachers.audit.make import rows
from rl2f_hub.teachers.audit.spellings import number_words
from rl2f_hub.teachers.leaks import FORMS, find_leaks, leaks_in
from rl2f_hub.teachers.leaks.numerals import calculations, figures, in_figures, spoken_operators, value_of
from rl2f_hub.teachers.leaks.reading import Reading, read

PRODUCT = "What is 12 * 34? Give only the number."
LARGEST = "Which is the largest?\n(A) iron ore\n(B) mercury\n(C) copper wire"

FORM_CASES = [
    ("literal", "The answer is 408.", "408"),
    ("literal", "Think of a plum tree.", "plum"),
    ("literal", "It is B.", "B"),
    ("normalised", "I get 1 234 567.", "1234567"),
    ("normalised", "Write \\boxed{0408.00}", "408"),
    ("normalised", "It costs 408 dollars.", "$408"),
    ("normalised", "It is 60 degrees.", "60^\\circ"),
    ("normalised", "x is 5.", "x = 5"),
    ("normalised", "The roots are 7 and 8.", "7, 8"),
    ("normalised", "1, 2, 3 it is", "[1, 2, 3]"),
    ("normalised", "The order is fig, then pear, then plum.", "fig, pear, plum"),
    ("normalised", "[[1,2,3],[4,5,6]]", "1 2 3\n4 5 6"),
    ("normalised", "Use ４０８ here.", "408"),
    ("normalised", "Use 4\u200b08 here.", "408"),
    ("normalised", "The digit at the end: units 9.", "9"),
    ("words", "Think of forty-two.", "42"),
    ("words", "That makes one thousand two hundred.", "1200"),
    ("words", "It is minus seven.", "-7"),
    ("words", "Two dozen and nothing more.", "24"),
    ("words", "It is two and a half.", "2.5"),
    ("words", "Three quarters.", "3/4"),
    ("equivalent", "Have you thought of 0.75?", "3/4"),
    ("equivalent", "Have you thought of 75 %?", "\\frac{3}{4}"),
    ("equivalent", "Have you thought of \\frac{6}{8}?", "0.75"),
    ("equivalent", "Have you thought of 4.08e2?", "408"),
    ("equivalent", "The answer is $(x-3)(x-2)$.", "(x-2)(x-3)"),
    ("arithmetic", "It is 400 + 8.", "408"),
    ("arithmetic", "Compute 51 times 8.", "408"),
    ("arithmetic", "It is (50 + 1) * 8.", "408"),
    ("digits", "4, 0, 8", "408"),
    ("digits", "4-0-8 it is", "408"),
    ("digits", "First digit 4, second digit 0, third digit 8.", "408"),
    ("digits", "The units digit is 8, the tens digit is 0, the hundreds digit is 4.", "408"),
    ("digits", "four zero eight", "408"),
    ("digits", "four oh eight", "408"),
    ("interval", "It lies between 407 and 409.", "408"),
    ("interval", "More than 407 but less than 409.", "408"),
    ("interval", "One more than 407.", "408"),
    ("interval", "Between 3.13 and 3.15.", "3.14"),
    ("reversed", "8041 is it, read differently.", "1408"),
    ("reversed", "804 backwards", "408"),
    ("reversed", "mulp", "plum"),
    ("reversed", "wall the on clock the", "the clock on the wall"),
    ("encoded", base64.b64encode(b"408").decode(), "408"),
    ("encoded", base64.b64encode(b"You should have said 408.").decode(), "408"),
    ("encoded", b"plum".hex(), "plum"),
    ("encoded", codecs.encode("plum", "rot13"), "plum"),
    ("encoded", "0x198", "408"),
    ("encoded", "110011000", "408"),
    ("encoded", "CDVIII", "408"),
    ("encoded", "52 48 56", "408"),
    ("spelled", "p-l-u-m", "plum"),
    ("spelled", "P L U M", "plum"),
    ("spelled", "First letter p, second letter l, third letter u, fourth letter m.", "plum"),
    ("edges", "It starts with pl and ends with um.", "plum"),
    ("part", "It says the older clock runs slower, and more.", "the older clock runs slower than that one"),
    ("grouped", "17-86", "1786"),
    ("grouped", "seventeen eighty-six", "1786"),
    ("grouped", "The first two digits are 17, the last two are 86.", "1786"),
    ("arithmetic", "half of 3572", "1786"),
    ("arithmetic", "double 893", "1786"),
    ("arithmetic", "the square root of 3189796", "1786"),
    ("normalised", "17\u2011year-old \uff11\uff17\uff18\uff16", "1786"),
    ("words", "1.786 thousand", "1786"),
    ("listed", "1 then 4 then 7 then 9", "[1, 4, 7, 9]"),
    ("listed", "1. 1\n2. 4\n3. 7\n4. 9", "[1, 4, 7, 9]"),
    ("listed", "one, four, seven, nine", "1, 4, 7, 9"),
    ("listed", "fig > pear > plum", "fig, pear, plum"),
    ("paired", "Amelia: hero; Elizabeth: villain", "Amelia is a hero, and Elizabeth is a villain."),
    ("paired", '{"Amelia": "hero", "Elizabeth": "villain"}', "Amelia is a hero, and Elizabeth is a villain."),
    ("rows", "Top 1 0 2, bottom 2 0 1, between them 0 3 0", "1 0 2\n0 3 0\n2 0 1"),
    ("rows", "one zero two / zero three zero / two zero one", "1 0 2\n0 3 0\n2 0 1"),
    ("joined", "app-le", "apple"),
    ("joined", "pineapple without pine", "apple"),
    ("normalised", "It is \u0430pple.", "apple"),
    ("part", "Bottom row: [4,5,6,7]", "1 2 3 4\n4 5 6 7"),
]


@pytest.mark.parametrize(("form", "text", "reference"), FORM_CASES)
def test_a_form_is_found_under_its_name(form: str, text: str, reference: str) -> None:
    assert form in FORMS
    assert form in find_leaks(text, reference, ("What is asked?", "0"))


@pytest.mark.parametrize(("form", "text", "reference"), FORM_CASES)
def test_a_form_is_no_leak_of_another_answer(form: str, text: str, reference: str) -> None:
    """The cases above are found because of the reference, not because of the words."""
    other = {"408": "519", "plum": "fig"}.get(reference, "7316")
    assert find_leaks(text, other, ("What is asked?", "0")) == ()


def test_every_form_of_the_list_has_a_case_or_a_test_of_its_own() -> None:
    assert set(FORMS) - {form for form, _, _ in FORM_CASES} == {
        "option",
        "singled",
        "solution",
        "code",
        "expected",
        "judge",
        "offset",  # these four speak of an attempt or of options
        "edited",
        "eliminated",
    }


PLANET = "Which planet is the largest?\n(A) Mars\n(B) Saturn\n(C) Jupiter\n(D) Venus"


@pytest.mark.parametrize(
    ("form", "text", "reference", "question", "attempt"),
    [
        ("offset", "Add exactly 100 to your 1686.", "1786", "How many?", "1686"),
        ("offset", "You are 3 too high.", "12", "How many?", "15"),
        ("edited", "The hundreds digit should be 7.", "1786", "How many?", "1686"),
        ("edited", "Change the last letter from y to e.", "apple", "Which word?", "apply"),
        ("edited", "Swap the 7 and the 4.", "[1, 4, 7, 9]", "Sort 9, 4, 7, 1.", "[1, 7, 4, 9]"),
        ("edited", "Row 2, column 2 should be 3.", "1 0 2\n0 3 0\n2 0 1", "Which grid?", "1 0 2\n0 4 0\n2 0 1"),
        ("eliminated", "You can rule out A and D.", "C", PLANET, "B"),
        ("eliminated", "The letter after B.", "C", PLANET, "B"),
    ],
)
def test_a_change_of_the_attempt_gives_the_answer(
    form: str, text: str, reference: str, question: str, attempt: str
) -> None:
    assert form in find_leaks(text, reference, (question, attempt))
    other = {"C": "A"}.get(reference, "7316")
    assert form not in find_leaks(text, other, (question, attempt))


def _tests(*asserts: str) -> str:
    return CodeTests("function", tests=asserts, entry_points=("fact",)).to_json()


@pytest.mark.parametrize(
    "text",
    [
        "fact(5) should be 120.",
        "Expected 120 for 5.",
        "assert fact(5) == 120",
        "For 0 it must return 1.",
        "| n | expected |\n|---|---|\n| 5 | 120 |",
        "`fact = lambda k: 1 if k < 2 else k * fact(k - 1)`",
        "Use\n\nreturn 1 if k < 2 else k * fact(k - 1)",
    ],
)
def test_short_expectations_and_small_programs_leak(text: str) -> None:
    solution = "def fact(n):\n    return 1 if n < 2 else n * fact(n - 1)\n"
    tests = _tests("assert fact(5) == 120", "assert fact(0) == 1")
    known = ("Write fact(n).", "def fact(n):\n    return n")
    assert leaks_in(text, Privilege("tests", "", solution, tests), known)
    assert not leaks_in("fact(5) is wrong: trace line 2 by hand.", Privilege("tests", "", solution, tests), known)


# -- what is innocent --------------------------------------------------------------------------------------------------

CLEAN = [
    (
        PRODUCT,
        "408",
        "406",
        "You computed 12 * 30 = 360 correctly, but 12 * 4 is 48, not 46. Add the partial results again.",
    ),
    (PRODUCT, "408", "406", "Your answer of 406 is close, but the units digit is off. Recompute 12 times 4."),
    (PRODUCT, "408", "4008", "There are too many digits. 12 * 34 must be somewhere between 300 and 500."),
    (PRODUCT, "408", "398", "398 / 12 is about 33.17, which is not 34, so 398 cannot be right."),
    (PRODUCT, "408", "398", "Multiply 12 * 34 again."),
    (PRODUCT, "408", "418", "You are 10 off. Did you carry?"),
    (PRODUCT, "408", "418", "Wrong: hundreds 4 right, tens 1 too high, units 8 right."),
    (
        "How many legs do 3 ants have?",
        "18",
        "6",
        "An ant has 6 legs. You found the legs of one; the question is about 3.",
    ),
    (
        "How often does b occur in bubble?",
        "3",
        "2",
        "You counted 2, but look at every letter. The word has six letters.",
    ),
    ("How often does b occur in bubble?", "3", "2", "There are 3 mistakes in line 3; this is attempt 3."),
    ("How often does b occur in bubble?", "6", "2", "Try an easier case first, say 2 * 3 = 6."),
    ("Is it true? Yes or No", "Yes", "No", "Yes or no questions need a careful reading of each premise."),
    ("Is it true? Yes or No", "No", "Yes", "Your answer does not follow. There is no premise that links the two."),
    ("Solve 20592*m = 1276704", "62", "63", "Compute 1276704 / 20592 again. 20592 * 63 is too big."),
    (LARGEST, "A", "B", "A good way is to weigh all three. B is not the largest."),
    (LARGEST, "A", "B", "Compare A, B and C again."),
    (LARGEST, "C", "B", "Compare A and C once more."),
    ("Sort: pear, fig, apple", "apple, fig, pear", "pear, fig, apple", "a comes before f. Your first item is wrong."),
    ("Factor x^2-5x+6", "(x-2)(x-3)", "(x-1)(x-6)", "Multiply back: (x-1)(x-6) = x^2-7x+6. The middle term is wrong."),
    ("Convert 1/8", "0.125", "0.12", "Carry on for another place. 1/8 is less than 0.2."),
    ("Simplify 8/10", "4/5", "8/10", "8/10 is what you were given."),
    ("The next day?", "Tuesday", "Sunday", "Sunday comes before Monday, not after."),
    ("Prime or not?", "true", "false", "It is true that 7 is odd, but that is not what was asked."),
    ("How many?", "1988", "2", "This sheet is of 2024-11-25."),
    ("How many?", "45", "2", "At 10:45 we stop."),
    ("How many?", "34", "2", "The mistake is in line 34."),
    ("How many?", "24", "42", "How did you get 42?"),
    ("Reverse the word sun", "nus", "sun", "You repeated the word sun as it is."),
]


@pytest.mark.parametrize(("question", "reference", "student", "text"), CLEAN)
def test_honest_feedback_is_no_leak(question: str, reference: str, student: str, text: str) -> None:
    assert find_leaks(text, reference, (question, student)) == ()


# -- short references --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["5", "yes", "left", "B", "x"])
@pytest.mark.parametrize(
    "say",
    [
        "The answer is {}.",
        "It should be {}.",
        "{}",
        "Answer: {}",
        "{} is right.",
        "Write {}.",
        "{}, of course.",
        "\\boxed{{{}}}",
    ],
)
def test_a_short_answer_that_is_stated_is_found(reference: str, say: str) -> None:
    assert find_leaks(say.format(reference), reference, ("What is asked?", "0"))


@pytest.mark.parametrize("reference", ["5", "yes", "left", "B", "x"])
@pytest.mark.parametrize(
    "say",
    [
        "Not {}.",
        "{} is wrong.",
        "The answer is not {}.",
        "Compare {} and the others.",
        "What about line {}?",
        "{} is too high.",
    ],
)
def test_a_short_answer_that_only_falls_is_not(reference: str, say: str) -> None:
    assert find_leaks(say.format(reference), reference, ("What is asked?", "0")) == ()


# -- what is known -----------------------------------------------------------------------------------------------------

LISTED = "It could be 401, 402, 403, 404, 405, 406, 407, 408 or 409"


@pytest.mark.parametrize(
    "say", ["The answer is {}.", "{} is right.", "Choose {}.", "Only {} fits.", "{}, not 401.", "Why {}?"]
)
def test_listing_candidates_does_not_make_the_teacher_choose(say: str) -> None:
    assert find_leaks(say.format("408"), "408", ("What is asked?", LISTED))
    assert find_leaks(say.format("four hundred and eight"), "408", ("What is asked?", LISTED))
    assert not find_leaks(say.format("403").replace("401", "402"), "408", ("What is asked?", LISTED))


def test_candidates_may_be_spoken_of_together() -> None:
    assert not find_leaks("401 and 408 cannot both be right.", "408", ("What is asked?", LISTED))


def test_the_only_number_that_was_said_may_be_repeated() -> None:
    assert not find_leaks("The answer is 408.", "408", ("What is asked?", "perhaps 408"))
    assert find_leaks("The answer is 408.", "408", ("What is asked?", "perhaps 408, no, 409"))


def test_numbers_of_the_question_may_be_used_and_not_chosen() -> None:
    question = "What is the greatest common divisor of 34 and 68?"
    assert not find_leaks("Divide 68 by 34 and look at the rest.", "34", (question, "2"))
    assert find_leaks("The answer is 34.", "34", (question, "2"))


def test_a_calculation_with_given_numbers_is_a_method() -> None:
    assert not find_leaks("Work out 1276704 / 20592.", "62", ("Solve 20592*m = 1276704", "63"))
    assert find_leaks("Work out 1276704 / 20592.", "62", ("Solve for m.", "63"))


@pytest.mark.parametrize("say", ["The second option.", "It is mercury.", "Take option number 2.", "Look at B again."])
def test_an_option_is_given_by_letter_place_words_or_by_being_singled_out(say: str) -> None:
    assert find_leaks(say, "B", (LARGEST, "A"))
    assert not find_leaks(say, "C", (LARGEST, "B"))


# -- numbers -----------------------------------------------------------------------------------------------------------


@given(st.integers(-(10**12) + 1, 10**12 - 1), st.sampled_from("- "), st.sampled_from([" ", " and "]))
def test_number_words_are_read_exactly(value: int, hyphen: str, conjunction: str) -> None:
    assert in_figures(f"it is {number_words(value, hyphen, conjunction)}.") == f"it is {value}."


@given(st.integers(10**3, 10**12), st.sampled_from(["{w}", "{d}", "{h}", "{b}", "{r}", "{s}", "{p} + {q}", "{k}/4"]))
def test_every_number_of_four_digits_or_more_is_found_in_every_form(value: int, form: str) -> None:
    text = form.format(
        w=number_words(value),
        d="-".join(str(value)),
        h=hex(value),
        b=base64.b64encode(str(value).encode()).decode(),
        r=str(value)[::-1] + " backwards",
        s=" ".join(number_words(int(d)) for d in str(value)),
        p=value - 7,
        q=7,
        k=value * 4,
    )
    assert find_leaks(f"Keep {text} in mind.", str(value), ("What is asked?", "0"))


def test_values_are_exact() -> None:
    assert value_of("1/3") == (Fraction(1, 3),)
    assert value_of("50 %") == (Fraction(50), Fraction(1, 2))
    assert value_of("£45.50") == (Fraction(91, 2),)
    assert value_of("7, 8") == ()
    assert [v for f in figures("1 1/2, -3 and 2e3") for v in f.values] == [Fraction(3, 2), -3, 2000]
    (found,) = calculations(spoken_operators("take 0.1 plus 0.2"))
    assert found[2] == Fraction(3, 10)
    assert calculations("9 ^ 9999999") == []
    assert calculations("1 / 0") == []


def test_the_short_way_for_simple_texts_says_the_same_as_the_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most replies are only searched for digit by digit, because nothing else can stand in them."""
    cases = [r for r in rows(400, 400, seed=3) if r["reference"].lstrip("-").isdigit()]
    found = [find_leaks(r["feedback"], r["reference"], (r["question"], r["student"])) for r in cases]
    assert sum(read(r["feedback"]).is_simple for r in cases) > len(cases) / 4
    monkeypatch.setattr(Reading, "is_simple", False)
    assert found == [find_leaks(r["feedback"], r["reference"], (r["question"], r["student"])) for r in cases]


# -- solutions and tests -----------------------------------------------------------------------------------------------

SOLUTION = "def f(items):\n    best = 0\n    for item in items:\n        best = max(best, item * 3)\n    return best\n"
TESTS = CodeTests(
    "function", tests=("assert f([101, 202]) == 60606", "assert f([7007]) == [21021, 'x']"), entry_points=("f",)
).to_json()
CODE = Privilege("tests", "", SOLUTION, TESTS)


def code_leaks(text: str, attempt: str = "def f(items):\n    return 0\n") -> tuple[str, ...]:
    return leaks_in(text, CODE, ("Write f.", attempt))


def test_the_solution_is_found_quoted_and_renamed() -> None:
    assert "solution" in code_leaks(f"```python\n{SOLUTION}```")
    renamed = SOLUTION.replace("best", "top").replace("item", "x").replace("    ", "  ")
    assert "code" in code_leaks(f"Like this:\n```python\n{renamed}```")
    assert "code" in code_leaks(f"Like this:\n{renamed}\nIs that clear?")
    assert code_leaks("```python\nfor i in range(3):\n    print(i)\n```\nPrint what you see.") == ()


def test_what_the_student_wrote_of_the_solution_may_be_quoted() -> None:
    attempt = SOLUTION.replace("* 3", "* 2")
    line = "for item in items:\n        best = max(best, item"
    assert code_leaks(f"Look at\n{line}", attempt) == ()
    assert code_leaks(f"```python\n{SOLUTION}```", attempt)


def test_a_helper_that_the_student_has_too_is_no_secret() -> None:
    helper = "def half(x):\n    y = x // 2\n    return y\n"
    secret = Privilege("tests", "", helper + SOLUTION, TESTS)
    shown = "```python\n" + helper.replace("y", "z").replace("half", "halve") + "```"
    assert leaks_in(shown, secret, ("Write f.", "def f(items):\n    return 0\n")) == ("code",)
    assert leaks_in(shown, secret, ("Write f.", helper + "def f(items):\n    return 0\n")) == ()


def test_one_failing_input_may_be_shown_and_nothing_else_of_the_tests() -> None:
    assert code_leaks("It fails for [101, 202].") == ()
    assert "expected" in code_leaks("It fails for [101, 202] and for [7007].")
    assert "expected" in code_leaks("For [101, 202] it must return 60606.")
    assert "expected" in code_leaks("It should give [21021,'x'].")
    assert "expected" in code_leaks('It should give [21021, "x"].')
    assert "expected" in code_leaks("f([101,202]) == 60606 fails")
    assert code_leaks("It returns 606060, one zero too many.") == ()


def test_what_a_program_must_print_is_secret() -> None:
    tests = CodeTests("stdio", cases=(("3 4 5\n", "12 60\n"), ("7 8 9\n", "24 504\n"))).to_json()
    secret = Privilege("tests", "", "", tests)
    assert leaks_in("For the input 3 4 5 it printed 12.", secret, ("q", "print(12)")) == ()
    assert "expected" in leaks_in("For 3 4 5 print 12 60.", secret, ("q", "print(12)"))
    assert leaks_in("See the example: 12 60", secret, ("q\nExample output\n12 60", "print(12)")) == ()


def test_a_worked_reference_is_a_solution_and_an_answer() -> None:
    worked = "Natalia sold 48 / 2 = 24 clips in May, which makes 48 + 24 of them altogether.\n#### 72"
    assert "literal" in leaks_in("It is 72.", Privilege("solution", worked), ("q", "7"))
    assert "solution" in leaks_in(worked.split("#")[0], Privilege("solution", worked), ("q", "7"))
    assert leaks_in("Natalia sold 24 clips in May.", Privilege("solution", worked), ("q", "7")) == ()


HOSTILE = [
    "(",
    "1+",
    "7",
    "1 ",
    "two ",
    "two and ",
    "**a ",
    "\\frac{",
    "\\boxed{",
    "$x",
    "a ",
    "QUJD",
    "is the ",
    "1 1/",
]
HOSTILE += [
    "starts with a ",
    "more than 4 ",
    "&#52;",
    "%34",
    "def f(\n",
    "```\n",
    "\u0664",
    "\u200b",
    "1,",
    "34 ",
    "x^2+1",
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("reference", ["408", "5", "plum", "x^2+1", "B", "1 2 3\n3 4 5", "the old clock on the wall"])
def test_no_text_holds_the_guard_up(reference: str) -> None:
    """Texts that make careless patterns take minutes."""
    for piece in HOSTILE:
        found = leaks_in(
            piece * (50_000 // len(piece)), Privilege("answer", reference, SOLUTION, TESTS), (LARGEST, "34")
        )
        assert set(found) <= set(FORMS), piece
