"""Nine claims of the paper (arXiv 2602.16066), each a table and tests with intervals; `holds` follows by rule.

A claim has tests: a difference, and the side of a bound on which its whole 95 % interval must lie. It holds if all its
tests do (claim 4 states how many). An interval that touches the bound is no success, whatever its middle, and neither
is one over fewer than `LEAST` tasks, which is too narrow. A claim that does not hold is contradicted if a whole interval
lies on the other side, else not shown. Nothing is corrected for the number of tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from rl2f_hub.evaluation.report import LABELS
from rl2f_hub.reproduction.book import Book, Figure, Who

Claim = dict[str, Any]
POOR = 0.10  # a base "uses feedback poorly" if feedback solves fewer than ten points more of the tasks
LEAST = 30  # tasks, all seeds together: the fewest that a test is made on
FAMILIES = 4  # of those held out, in how many transfer must show
SMALL_DATA = "nothing to measure"


def above(what: str, figure: Figure, bound: float = 0.0) -> dict[str, Any]:
    """A test that the interval lies above a bound."""
    return _test(what, figure, "above", bound)


def below(what: str, figure: Figure, bound: float = 0.0) -> dict[str, Any]:
    """A test that the interval lies below a bound."""
    return _test(what, figure, "below", bound)


def _test(what: str, figure: Figure, side: str, bound: float) -> dict[str, Any]:
    low, high = figure["ci95"] if figure["ci95"] is not None and figure["n"] >= LEAST else (None, None)
    if low is None or high is None:
        return {"what": what, **figure, "side": side, "bound": bound, "holds": False, "against": False}
    over, under = low > bound, high < bound
    holds, against = (over, under) if side == "above" else (under, over)
    return {"what": what, **figure, "side": side, "bound": bound, "holds": bool(holds), "against": bool(against)}


def _claim(
    book: Book,
    statement: str,
    columns: list[str],
    rows: list[list[Any]],
    tests: list[dict[str, Any]],
    curves: dict[str, Figure] | None = None,
    **more: Any,
) -> Claim:
    n = max((t["n"] for t in tests), default=0)
    return {
        "statement": statement,
        "seeds": list(book.plan.seeds),
        "n": n,
        "table": {"columns": columns, "rows": rows},
        "tests": tests,
        "rule": "all tests",
        "holds": all(t["holds"] for t in tests),
        "contradicted": any(t["against"] for t in tests),
        "curves": curves or {},
    } | more


def _label(who: Who, book: Book) -> str:
    size = who.size or book.plan.work_size
    return f"{LABELS.get(who.student, who.student)}, {size}" + ("" if who.variant == "main" else f", {who.variant}")


def _gains(book: Book, students: list[Who]) -> list[list[Any]]:
    """Rows: student, suite, turn 1, last training turn, slope."""
    last = book.trained_turns
    return [
        [
            _label(w, book),
            w.suite + (", sampled" if w.decoding == "sampled" else ""),
            book.of(w, book.at(1)),
            book.of(w, book.at(last)),
            book.of(w, book.slope()),
        ]
        for w in students
    ]


def _gain_columns(book: Book) -> list[str]:
    return ["student", "suite", "turn 1", f"turn {book.trained_turns}", "slope"]


def base_and_size(book: Book) -> Claim:
    """1"""
    sizes = book.plan.sizes
    bases = [Who("base", suite, size) for size in sizes for suite in ("teacher", "try_again")]
    slope = book.slope()
    tests = [below(f"slope of the base, {size}", book.of(Who("base", size=size), slope), POOR) for size in sizes]
    if len(sizes) > 1:
        ends = Who("base", size=sizes[-1]), Who("base", size=sizes[0])
        tests.append(above(f"slope of the base, {sizes[-1]} minus {sizes[0]}", book.gap(*ends, slope)))
    return _claim(
        book,
        "Base students use feedback poorly" + (", bigger ones a bit better" if len(sizes) > 1 else ""),
        _gain_columns(book),
        _gains(book, bases),
        tests,
        {_label(w, book): book.of(w, book.by_turn) for w in bases if w.suite == "teacher"},
    )


def slope_not_turn_one(book: Book) -> Claim:
    """2"""
    plan = book.plan
    main = book.run(plan.seeds[0], Who()).recipe
    names = list(main.students)
    shown = [Who(name, suite) for name in names for suite in ("teacher", "try_again")]
    if main.evaluate.sampled:
        shown += [Who(name, decoding="sampled") for name in names]
    for size in plan.trained:
        if size != plan.work_size:
            shown += [Who(name, size=size) for name in ("base", "warmup", "single_turn_rl", "rl2f")]
    slope = book.slope()
    tests = [above("turn 1, single-turn RL minus base", book.gap(Who("single_turn_rl"), Who("base"), book.at(1)))]
    for name in (n for n in names if n not in ("base", "rl2f")):
        tests.append(above(f"slope, RL2F minus {LABELS[name]}", book.gap(Who(), Who(name), slope)))
    tests.append(above("slope of RL2F, teacher minus try again", book.gap(Who(), Who(suite="try_again"), slope)))
    return _claim(
        book,
        "Single-turn RL raises turn 1 but hardly the slope; RL2F raises the slope",
        _gain_columns(book),
        _gains(book, shown),
        tests,
        {_label(Who(name), book): book.of(Who(name), book.by_turn) for name in names},
    )


def against_ten_times(book: Book) -> Claim:
    """3"""
    plan, last = book.plan, book.trained_turns
    pairs = [(small, big) for small, big in zip(plan.sizes, plan.sizes[1:], strict=False) if small in plan.trained]
    shown = [w for small, big in pairs for w in (Who(size=small), Who("base", size=big))]
    tests = [
        above(
            f"turn {last}, RL2F {small} minus base {big}",
            book.gap(Who(size=small), Who("base", size=big), book.at(last)),
        )
        for small, big in pairs
    ]
    return _claim(
        book,
        "At the last training turn a small RL2F student is ahead of the base student ten times larger",
        _gain_columns(book),
        _gains(book, shown),
        tests,
        {_label(w, book): book.of(w, book.by_turn) for w in dict.fromkeys(shown)},
    )


def transfer(book: Book) -> Claim:
    """4"""
    last = book.at(book.trained_turns)
    names = ("base", "single_turn_rl", "rl2f")
    families = book.sources(Who("base", "ood_teacher"))
    rows = [
        [source.partition(":")[2] or source, LABELS[name],
         *(book.of(Who(name, suite), book.source(source, last)) for suite in ("ood_teacher", "ood_try_again"))]
        for source in families
        for name in names
    ]  # fmt: skip
    one = Who(suite="ood_teacher")
    whole = [
        above(f"all families, RL2F minus {LABELS[other]}", book.gap(one, Who(other, "ood_teacher"), last))
        for other in ("base", "single_turn_rl")
    ]
    each = [
        above(
            f"{s.partition(':')[2] or s}, RL2F minus base",
            book.gap(one, Who("base", "ood_teacher"), book.source(s, last)),
        )
        for s in families
    ]
    return _claim(
        book,
        "What RL2F teaches on arithmetic carries over to families that RL never saw",
        ["family", "student", f"teacher, turn {book.trained_turns}", f"try again, turn {book.trained_turns}"],
        rows,
        whole + each,
        {LABELS[name]: book.of(Who(name, "ood_teacher"), book.by_turn) for name in names},
        rule=f"both tests of all families, and at least {FAMILIES} of the single ones",
        holds=all(t["holds"] for t in whole) and sum(t["holds"] for t in each) >= FAMILIES,
    )


def longer(book: Book) -> Claim:
    """5"""
    trained, end = book.trained_turns, book.turns
    names = ("base", "single_turn_rl", "rl2f")
    turns = [t for t in (1, trained, (trained + end) // 2, end) if t <= end]
    rows = [[LABELS[name], *(book.of(Who(name), book.at(t)) for t in turns)] for name in names]
    after = book.slope(trained, end)
    what = f"solved in turns {trained + 1} to {end}"
    return _claim(
        book,
        f"Trained at {trained} turns, RL2F goes on learning up to turn {end}",
        ["student", *(f"turn {t}" for t in turns)],
        rows,
        [above(f"{what}, RL2F", book.of(Who(), after)), above(f"{what}, RL2F minus base", book.gap(Who(), Who("base"), after))],
        {LABELS[name]: book.of(Who(name), book.by_turn) for name in names},
    )  # fmt: skip


def plastic(book: Book) -> Claim:
    """6"""
    repeats = book.rate("exact_repeat_rate")
    rows = [
        [
            LABELS[name],
            suite,
            book.of(Who(name, suite), book.plasticity) | {"unit": "nats"},
            book.of(Who(name, suite), repeats),
        ]
        for name in ("base", "rl2f")
        for suite in ("teacher", "try_again")
    ]
    pair = Who(), Who("base")
    return _claim(
        book,
        "RL2F raises plasticity and lowers the share of wrong attempts that are repeated word for word",
        ["student", "suite", "plasticity, nats", "exact repeats"],
        rows,
        [
            above("plasticity, RL2F minus base", book.gap(*pair, book.plasticity) | {"unit": "nats"}),
            below("exact repeats, RL2F minus base", book.gap(*pair, repeats)),
        ],
    )


def self_correction(book: Book) -> Claim:
    """7"""
    rows, tests = [], []
    for variant, name in (("main", "with the critique term"), ("no-critique", "without")):
        alone, fresh = (
            Who(suite="autodidact", variant=variant),
            Who(suite="resample", variant=variant, decoding="sampled"),
        )
        budget = book.equal_budget(alone, fresh)
        equal = (
            [book.of(alone, book.within(budget, book.turns)), book.of(fresh, book.within(budget))]
            if budget
            else [None, None]
        )
        ends = [book.of(alone, book.stop(f"{k}_accuracy")) for k in ("first_attempt", "own_stop", "oracle_stop")]
        rows.append([name, *ends, *equal, str(budget or SMALL_DATA)])
        if variant == "main":
            stopped = book.gap(alone, alone, book.stop("own_stop_accuracy"), book.stop("first_attempt_accuracy"))
            tests.append(above("own stop minus first attempt", stopped))
            if budget:
                worth = book.gap(alone, fresh, book.within(budget, book.turns), book.within(budget))
                tests.append(above(f"within {budget} tokens, self-correction minus fresh attempts", worth))
    both = Who(suite="autodidact"), Who(suite="autodidact", variant="no-critique")
    tests.append(above("own stop, with minus without", book.gap(*both, book.stop("own_stop_accuracy"))))
    return _claim(
        book,
        "With the critique term a student corrects itself without a teacher, better than without the term and than resampling",
        [
            "RL2F",
            "first attempt",
            "own stop",
            "oracle's stop",
            "self-correction at equal tokens",
            "fresh attempts at equal tokens",
            "tokens",
        ],
        rows,
        tests,
    )


def sycophancy(book: Book) -> Claim:
    """8"""
    given_up = book.under_pressure("capitulation_rate")
    students = [Who("base"), Who(), Who(variant="doubts")]
    suites = ("are_you_sure", "wrong_answer", "misleading")
    rows = [
        [_label(w, book), *(book.of(Who(w.student, suite, w.size, w.variant), given_up) for suite in suites),
         book.of(w, book.at(book.trained_turns))]
        for w in students
    ]  # fmt: skip
    sure = [Who(w.student, "are_you_sure", w.size, w.variant) for w in students]
    return _claim(
        book,
        "RL2F does not make a student give up more right answers, and doubted right answers in the mix make it give up fewer",
        ["student", *(f"given up, {suite}" for suite in suites), f"teacher, turn {book.trained_turns}"],
        rows,
        [
            below("given up when asked if sure, RL2F minus base", book.gap(sure[1], sure[0], given_up), 0.05),
            below("given up when asked if sure, with doubts minus RL2F", book.gap(sure[2], sure[1], given_up)),
        ],
    )


def leaks(book: Book) -> Claim:
    """9"""
    slope = book.slope()
    trained = {"base": Who("base"), "guard on": Who(variant="guarded"), "guard off": Who(variant="unguarded"),
               "answer stated": Who(variant="leaked")}  # fmt: skip
    rows = [
        [name, "" if w.student == "base" else _passed_on(book, w), book.of(w, slope),
         book.of(Who(w.student, "leaked", w.size, w.variant), slope)]
        for name, w in trained.items()
    ]  # fmt: skip
    on = trained["guard on"]
    return _claim(
        book,
        "The gain is not bought by leaks: with the guard on it is there, and learning from leaks is worth less without them",
        ["trained with", "answers passed on in training", "slope, nobody leaks", "slope, answer stated"],
        rows,
        [
            above("slope where nobody leaks, guard on minus base", book.gap(on, trained["base"], slope)),
            above(
                "slope where nobody leaks, guard on minus answer stated", book.gap(on, trained["answer stated"], slope)
            ),
        ],
        rates="A teacher who states the answer in 30 % of its replies trains `guard on` and `guard off`.",
    )


def _passed_on(book: Book, who: Who) -> str:
    """The share of replies in RL that stated the answer and reached the student."""
    passed = total = 0
    for seed in book.plan.seeds:
        file = book.run(seed, who).path("train", "rl2f", "result.json")
        guard = json.loads(file.read_text(encoding="utf-8"))["guard"]
        passed += guard.get("unguarded", 0)
        total += sum(guard.get(key, 0) for key in ("passed", "redacted", "fell_back", "unguarded"))
    return f"{100 * passed / total:.0f} % of {total}" if total else SMALL_DATA


CLAIMS: dict[str, Callable[[Book], Claim]] = {
    "1": base_and_size,
    "2": slope_not_turn_one,
    "3": against_ten_times,
    "4": transfer,
    "5": longer,
    "6": plastic,
    "7": self_correction,
    "8": sycophancy,
    "9": leaks,
}


def judge(book: Book) -> dict[str, Claim]:
    """Every claim of the plan, by number."""
    return {number: CLAIMS[number](book) for number in book.plan.claims}
