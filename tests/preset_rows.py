"""Rows for each preset in its data set's schema (config, split, features), written for the tests: none is from a data set.

`SEEDS[name]` says where the rows go and what must come of them: `right` and `wrong` are attempts at the first row's
task, `left_out` how many rows the preset's filter drops.
"""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Seed:
    repo: str
    split: str
    features: dict[str, Any]
    rows: list[dict[str, Any]]
    right: str
    wrong: str
    config: str = "default"
    file: str = ""  # uploaded as JSON Lines of this name beside a loading script, instead of pushed as Parquet
    left_out: int = 0
    source: dict[str, Any] = field(default_factory=dict)  # beside `source` and `count`


def fenced(code: str) -> str:
    return f"Here it is:\n```python\n{code}\n```"


def packed(tests: list[dict[str, str]]) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


CASES = [{"input": "string", "output": "string"}]
TEXT = "string"

CODEFORCES_FEATURES = {
    **dict.fromkeys(("id", "contest_id", "contest_name", "contest_type", "index", "title", "description"), TEXT),
    **dict.fromkeys(("input_format", "output_format", "interaction_format", "note", "editorial", "input_mode"), TEXT),
    **dict.fromkeys(("contest_start", "contest_start_year", "rating", "testset_size", "generated_tests"), "int64"),
    **{"aliases": [TEXT], "tags": [TEXT], "time_limit": "float64", "memory_limit": "float64"},
    **{"examples": CASES, "official_tests": CASES, "official_tests_complete": "bool"},
    **{"generated_checker": TEXT, "executable": "bool"},
}


def contest(number: int, **more: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(CODEFORCES_FEATURES),
        "id": f"9{number}/A",
        "title": f"Apples {number}",
        "description": f"Two baskets hold apples. Print how many there are in all, plus {number}.",
        "input_format": "Two whole numbers.",
        "output_format": "One whole number.",
        "examples": [{"input": "1 2\n", "output": f"{3 + number}\n"}],
        "official_tests": [
            {"input": f"{a} {b}\n", "output": f"{a + b + number}\n"} for a, b in ((1, 2), (10, 5), (0, 0))
        ],
        "official_tests_complete": True,
        "input_mode": "stdio",
        "executable": True,
        "rating": 800,
        "time_limit": 1.0,
        "memory_limit": 256.0,
        "tags": ["maths"],
        **more,
    }


def bench(number: int, tests: list[dict[str, str]], **more: Any) -> dict[str, Any]:
    return {
        "question_title": f"Question {number}",
        "question_content": f"Question {number}: print twice the number that is given, plus {number}.",
        "platform": "own",
        "question_id": f"own_{number}",
        "contest_id": "c1",
        "contest_date": f"2025-01-0{number}T00:00:00",
        "starter_code": "",
        "difficulty": "easy",
        "public_test_cases": json.dumps(tests[:1]),
        "private_test_cases": packed(tests[1:]),
        "metadata": "{}",
        **more,
    }


def stdin(number: int) -> list[dict[str, str]]:
    return [{"input": f"{n}\n", "output": f"{2 * n + number}\n", "testtype": "stdin"} for n in (1, 7, 40)]


FUNCTIONAL = [
    {"input": f"{numbers}\n{times}", "output": json.dumps([n * times for n in numbers]), "testtype": "functional"}
    for numbers, times in (([1, 2], 3), ([], 1), ([5], 0))
]


def humaneval(number: int) -> dict[str, str]:
    return {
        "task_id": f"Own/{number}",
        "prompt": f'def add_{number}(a: int, b: int) -> int:\n    """The sum of a, b and {number}."""\n',
        "canonical_solution": f"    return a + b + {number}\n",
        "test": f"def check(candidate):\n    assert candidate(1, 2) == {3 + number}\n    assert candidate(0, 0) == {number}\n",
        "entry_point": f"add_{number}",
    }


GRIDS = [{"input": [["int64"]], "output": [["int64"]]}]


def grid_row(number: int, tests: int = 1) -> dict[str, Any]:
    pairs = [{"input": [[a, number], [0, 0]], "output": [[number, a], [0, 0]]} for a in (1, 2, 3, 4)]
    return {"id": f"grid{number}", "train": pairs[:3], "test": pairs[-tests:]}


def science(number: int, labels: list[str], answer: str) -> dict[str, Any]:
    options = [f"stone {number}", f"water {number}", f"smoke {number}", f"light {number}"]
    return {
        "id": f"own_{number}",
        "question": f"Which of these can you drink, in case {number}?",
        "choices": {"text": options, "label": labels},
        "answerKey": answer,
    }


SEEDS: dict[str, Seed] = {
    "gsm8k": Seed(
        "openai/gsm8k",
        "train",
        {"question": TEXT, "answer": TEXT},
        [
            {
                "question": f"Ada has {n} boxes with 250 pens each. How many pens has she?",
                "answer": f"She has {n} * 250 = <<{n}*250={n * 250}>>{n * 250} pens.\n#### {n * 250:,}",
            }
            for n in (6, 7, 8)
        ],
        "That makes 1500 pens. The answer is 1,500.",
        "The answer is 1501.",
        config="main",
    ),
    "math_500": Seed(
        "HuggingFaceH4/MATH-500",
        "test",
        {"problem": TEXT, "solution": TEXT, "answer": TEXT, "subject": TEXT, "level": "int64", "unique_id": TEXT},
        [
            {
                "problem": f"Halve one {name} and write it as a fraction.",
                "solution": f"Half of it is $\\boxed{{\\frac{{1}}{{{2 * n}}}}}$.",
                "answer": f"\\frac{{1}}{{{2 * n}}}",
                "subject": "Algebra",
                "level": 1,
                "unique_id": f"test/own/{n}.json",
            }
            for n, name in ((3, "third"), (5, "fifth"), (7, "seventh"))
        ],
        r"So it is $\boxed{\frac{2}{12}}$.",
        r"So it is $\boxed{\frac{1}{3}}$.",
    ),
    "omni_math": Seed(
        "KbsdJames/Omni-MATH",
        "test",
        {
            "domain": [TEXT],
            "difficulty": "float64",
            "problem": TEXT,
            "solution": TEXT,
            "answer": TEXT,
            "source": TEXT,
        },
        [
            {"domain": ["Algebra"], "difficulty": 3.5, "source": "own", "solution": "It follows.", **row}
            for row in (
                {"problem": "What is the square root of $48$?", "answer": r"4\sqrt{3}"},
                {"problem": "Which $n$ work?", "answer": "all odd numbers above two"},
                {"problem": "Prove that $2 + 2 = 4$.", "answer": "4"},
                {"problem": "Is it so?", "answer": "$"},
                {"problem": "Solve $x^2 = 4$ for $x$.", "answer": r"\{-2, 2\}"},
            )
        ],
        r"The answer is $\sqrt{48}$.",
        r"The answer is $3\sqrt{4}$.",
        left_out=3,
    ),
    "hardmath2": Seed(
        "JVRoggeveen/HARDMath2",
        "train",
        {"prompt": TEXT, "solution": TEXT, "parameters": TEXT, "type": TEXT, "index": "int64"},
        [
            {
                "prompt": f"Give the leading behaviour of $\\int_0^\\infty e^{{-x t}} t^{n} dt$ for large $x$.",
                "solution": f"$$\\boxed{{\\frac{{{f}}}{{x^{n + 1}}}}}$$",
                "parameters": "$x$",
                "type": "integrals",
                "index": n,
            }
            for n, f in ((1, 1), (2, 2), (3, 6))
        ],
        r"It behaves as $\boxed{x^{-2}}$.",
        r"It behaves as $\boxed{x^{-3}}$.",
        file="data/integrals.jsonl",
    ),
    "mbpp": Seed(
        "google-research-datasets/mbpp",
        "train",
        {
            "task_id": "int32",
            "text": TEXT,
            "code": TEXT,
            "test_list": [TEXT],
            "test_setup_code": TEXT,
            "challenge_test_list": [TEXT],
        },
        [
            {
                "task_id": n,
                "text": f"Write a function that adds {n} to every number of a list.",
                "code": f"def helper(x):\r\n    return x + {n}\r\n\r\ndef add_all(numbers):\r\n"
                "    return list(map(helper, numbers))",
                "test_list": [f"assert add_all([1, 2]) == [{1 + n}, {2 + n}]", "assert set(add_all([])) == set()"],
                "test_setup_code": "",
                "challenge_test_list": [f"assert math.isclose(add_all([0])[0], {n})"] if n == 4 else [],
            }
            | ({"test_setup_code": "import math"} if n == 4 else {})
            for n in (4, 5, 6)
        ],
        fenced("def add_all(numbers):\n    return [n + 4 for n in numbers]"),
        fenced("def add_all(numbers):\n    return [n + 5 for n in numbers]"),
        config="full",
    ),
    "mbpp_sanitized": Seed(
        "google-research-datasets/mbpp",
        "train",
        {
            "source_file": TEXT,
            "task_id": "int32",
            "prompt": TEXT,
            "code": TEXT,
            "test_imports": [TEXT],
            "test_list": [TEXT],
        },
        [
            {
                "source_file": "own",
                "task_id": n,
                "prompt": f"Write a class Basket that counts its apples, and a function that tells {n} times their number.",
                "code": "class Basket:\n    def __init__(self, apples):\n        self.apples = apples\n\n"
                f"def total(baskets):\n    return {n} * sum(b.apples for b in baskets)\n",
                "test_imports": ["import math"],
                "test_list": [f"assert math.isclose(total([Basket(2), Basket(3)]), {5 * n})", "assert total([]) == 0"],
            }
            for n in (1, 2, 3)
        ],
        fenced(
            "class Basket:\n    def __init__(self, n):\n        self.n = n\n\ndef total(baskets):\n"
            "    return sum(b.n for b in baskets)"
        ),
        fenced("class Basket:\n    def __init__(self, n):\n        self.n = n\n\ndef total(baskets):\n    return 5"),
        config="sanitized",
    ),
    "openai_humaneval": Seed(
        "openai/openai_humaneval",
        "test",
        dict.fromkeys(("task_id", "prompt", "canonical_solution", "test", "entry_point"), TEXT),
        [humaneval(n) for n in (1, 2, 3)],
        fenced("def add_1(a, b):\n    return a + b + 1"),
        fenced("def add_1(a, b):\n    return a + b"),
        config="openai_humaneval",
    ),
    "apps": Seed(
        "codeparrot/apps",
        "train",
        {},
        [
            {
                "problem_id": 0,
                "question": "Read two whole numbers and print their sum.",
                "solutions": json.dumps(["a, b = map(int, input().split())\nprint(a + b)"]),
                "input_output": json.dumps({"inputs": ["1 2\n", ["3 4", "no more"]], "outputs": ["3\n", ["7"]]}),
                "difficulty": "introductory",
                "url": "",
                "starter_code": "",
            },
            {
                "problem_id": 2,
                "question": "A problem without tests.",
                "solutions": "",
                "input_output": "",
                "difficulty": "competition",
                "url": "",
                "starter_code": "",
            },
            {
                "problem_id": 1,
                "question": "Add up the numbers of a list.",
                "solutions": json.dumps(
                    ["class Solution:\n    def addUp(self, numbers, start):\n        return sum(numbers, start)"]
                ),
                "input_output": json.dumps({"fn_name": "addUp", "inputs": [[[1, 2], 3], [[], 0]], "outputs": [[6], 0]}),
                "difficulty": "interview",
                "url": "",
                "starter_code": "class Solution:\n    def addUp(self, numbers: List[int], start: int) -> int:\n        ",
            },
        ],
        fenced("print(sum(map(int, input().split())))"),
        fenced("print(3)"),
        file="train.jsonl",
        left_out=1,
    ),
    "codeforces": Seed(
        "open-r1/codeforces",
        "train",
        CODEFORCES_FEATURES,
        [
            contest(4),
            contest(5, generated_checker="print(1)"),
            contest(6, input_mode="file"),
            contest(7, official_tests_complete=False),
            contest(8, interaction_format="Ask, then read."),
            contest(9),
        ],
        fenced("a, b = map(int, input().split())\nprint(a + b + 4)"),
        fenced("print(7)"),
        config="verifiable",
        left_out=4,
    ),
    "live_code_bench": Seed(
        "livecodebench/code_generation_lite",
        "test",
        {},
        [
            bench(3, stdin(3)),
            bench(
                4,
                FUNCTIONAL,
                question_content="Multiply every number of a list.",
                starter_code="class Solution:\n    def timesAll(self, numbers: List[int], times: int) -> List[int]:\n        ",
                metadata=json.dumps({"func_name": "timesAll"}),
            ),
            bench(5, stdin(5), private_test_cases=json.dumps(stdin(5)[1:])),
        ],
        fenced("print(2 * int(input()) + 3)"),
        fenced("print(5)"),
        file="test6.jsonl",
    ),
    "bbeh_linguini": Seed(
        "BBEH/bbeh",
        "train",
        {"task": TEXT, "input": TEXT, "target": TEXT, "mini": "int64"},
        [
            {
                "task": task,
                "input": f"In a made-up tongue 'ka' is one and 'ke' two. Say {n}.",
                "target": word,
                "mini": 0,
            }
            for task, n, word in (
                ("linguini", 1, "ka-\u00e7o"),
                ("word sorting", 2, "ke"),
                ("linguini", 11, "ka ka"),
                ("linguini", 12, "ka ke"),
            )
        ],
        "One is ka.\nThe answer is: Ka-\u00e7o",
        "The answer is: ke",
    ),
    "mt_puzzles": Seed(
        "arianhosseini/mt_puzzles",
        "train",
        {"prompt": TEXT, "answer": TEXT},
        [{"prompt": f"Word {n} of this list: pear, plum, fig?", "answer": w} for n, w in ((1, "pear"), (2, "plum"))],
        "The answer is: Pear.",
        "The answer is: plum",
    ),
    "arc_agi": Seed(
        "dataartist/arc-agi",
        "training",
        {"id": TEXT, "train": GRIDS, "test": GRIDS},
        [grid_row(5), grid_row(6, tests=2), grid_row(7)],
        "The first row is turned.\n\n5 4\n0 0",
        "5 4 0 0",
    ),
    "arc_challenge": Seed(
        "allenai/ai2_arc",
        "train",
        {"id": TEXT, "question": TEXT, "choices": {"text": [TEXT], "label": [TEXT]}, "answerKey": TEXT},
        [science(1, list("ABCD"), "B"), science(2, list("1234"), "2"), science(3, list("ABCD"), "B")],
        "The answer is (B).",
        "The answer is (C).",
        config="ARC-Challenge",
    ),
    "mmlu": Seed(
        "cais/mmlu",
        "test",
        {"question": TEXT, "subject": TEXT, "choices": [TEXT], "answer": {"class_label": list("ABCD")}},
        [
            {
                "question": f"Which number is the largest, in case {n}?",
                "subject": "own",
                "choices": ["9", "30", "200", "4"],
                "answer": 2,
            }
            for n in (1, 2, 3)
        ],
        "C",
        "B",
        config="all",
    ),
}
