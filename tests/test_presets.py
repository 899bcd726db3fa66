"""Every preset, read by its real client from the embedded Hub, which holds rows in each data set's exact schema."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from typing import Any

import pytest
from hub_client import env_of, run
from preset_rows import SEEDS, stdin

from rl2f_hub.errors import UsageError
from rl2f_hub.localhub import LocalHub
from rl2f_hub.localhub.users import add_user
from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.records import Task
from rl2f_hub.tasks.code_converters import apps, codeforces, live_code_bench, mbpp
from rl2f_hub.tasks.converters import omni_math
from rl2f_hub.tasks.presets import PRESETS, expand
from rl2f_hub.verify import verify

FROM_HUB = [name for name in PRESETS if PRESETS[name].source.startswith("hub:")]
SCRIPT = "raise SystemExit('a loading script was run')\n"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """name -> what loading it gave, all in one fresh process after the Hub was filled."""
    work = tmp_path_factory.mktemp("presets")
    with LocalHub.start(work / "hub", user="reader") as hub:
        tokens = {owner: add_user(hub.root, owner) for owner in {seed.repo.split("/")[0] for seed in SEEDS.values()}}
        steps: list[dict[str, Any]] = []
        for seed in SEEDS.values():
            token = tokens[seed.repo.split("/")[0]]
            if seed.file:
                lines = "".join(json.dumps(row) + "\n" for row in seed.rows)
                script = {} if seed.features else {seed.repo.split("/")[-1] + ".py": SCRIPT}
                steps.append({"do": "upload", "repo": seed.repo, "files": {seed.file: lines, **script}, "token": token})
            else:
                keys = ("repo", "config", "split", "features", "rows")
                steps.append({"do": "push", "token": token, **{key: getattr(seed, key) for key in keys}})
        names = list(SEEDS)
        for name in names:
            seed = SEEDS[name]
            skipped = sum(row.get("task") == "word sorting" for row in seed.rows)
            source = {"source": name, "count": len(seed.rows) - seed.left_out - skipped, **seed.source}
            steps.append({"do": "load", "source": source})
        results = run(steps, env_of(hub, work / "home"), work)
    return dict(zip(names, results[-len(names) :], strict=True))


def first(name: str, loaded: dict[str, Any]) -> Task:
    """The task that was made of the seed's first row."""
    tasks = [Task.from_row(row) for row in loaded[name]["tasks"]]
    marks = {"arc_agi": "grid5", "apps": "sum", "live_code_bench": "own_3", "codeforces": "94/A", "math_500": "third"}
    mark = marks.get(name)
    if mark is None:
        return next(t for t in tasks if str(next(iter(text_of(SEEDS[name].rows[0])))) in t.prompt)
    return next(t for t in tasks if mark in (t.task_id, *t.prompt.rstrip(".").split()) or mark in t.prompt)


def text_of(row: dict[str, Any]) -> list[str]:
    return [row[c] for c in ("question", "problem", "text", "input", "prompt") if c in row]


def test_every_preset_of_the_hub_has_rows_here() -> None:
    assert sorted(SEEDS) == sorted(FROM_HUB)


@pytest.mark.parametrize("name", SEEDS)
def test_a_preset_gives_tasks(name: str, loaded: dict[str, Any]) -> None:
    got = loaded[name]
    assert "error" not in got, got["error"]
    preset, tasks = PRESETS[name], [Task.from_row(row) for row in got["tasks"]]
    assert got["report"]["bad_rows"] == 0
    assert got["report"]["filtered"] == SEEDS[name].left_out
    assert len(got["report"]["revision"]) == 40
    assert got["report"]["pinned"] is False
    assert any(got["report"]["revision"] in line for line in got["said"])
    assert len({task.task_id for task in tasks}) == len(tasks)
    for task in tasks:
        assert task.source == preset.source
        assert task.domain == preset.domain
        assert task.verifier == preset.fields["verifier"]
        assert task.privilege.kind in (preset.privilege, "tests")
        for private in (task.privilege.reference, task.privilege.solution, task.privilege.tests):
            assert len(private) < 8 or task.verifier == "text" or private not in task.prompt


@pytest.mark.parametrize("name", SEEDS)
def test_the_right_attempt_is_accepted_and_a_wrong_one_refused(name: str, loaded: dict[str, Any]) -> None:
    task = first(name, loaded)
    right = verify(task, SEEDS[name].right)
    assert right.correct, right
    wrong = verify(task, SEEDS[name].wrong)
    assert not wrong.correct, wrong


@pytest.mark.parametrize("name", [n for n in SEEDS if PRESETS[n].fields["verifier"] == "unit_tests"])
def test_the_data_sets_own_solution_passes_its_tests(name: str, loaded: dict[str, Any]) -> None:
    tried = 0
    for row in loaded[name]["tasks"]:
        task = Task.from_row(row)
        if task.privilege.solution:
            tried += 1
            verdict = verify(task, f"```python\n{task.privilege.solution}\n```")
            assert verdict.correct, (task.prompt, verdict)
    assert tried or name in ("codeforces", "live_code_bench")


def test_functions_are_asked_for_without_their_class(loaded: dict[str, Any]) -> None:
    for name, function, right in (
        (
            "apps",
            "def addUp(numbers: list[int], start: int) -> int:",
            "def addUp(numbers, start):\n    return sum(numbers) + start",
        ),
        (
            "live_code_bench",
            "def timesAll(numbers: list[int], times: int) -> list[int]:",
            "def timesAll(numbers, times):\n    return tuple(n * times for n in numbers)",
        ),
    ):
        task = next(Task.from_row(r) for r in loaded[name]["tasks"] if function.split("(")[0] in r["prompt"])
        assert function in task.prompt
        assert "self" not in task.prompt
        assert verify(task, f"```python\n{right}\n```").correct
        assert not verify(task, f"```python\n{function}\n    return 6\n```").correct


def test_all_test_grids_of_a_row_count(loaded: dict[str, Any]) -> None:
    task = next(Task.from_row(r) for r in loaded["arc_agi"]["tasks"] if r["task_id"] == "grid6")
    assert task.privilege.reference == "6 3\n0 0\n\n6 4\n0 0"
    assert verify(task, "6 3\n0 0\n\n6 4\n0 0").correct
    assert verify(task, "[[6, 3], [0, 0]]\n[[6, 4], [0, 0]]").correct
    assert not verify(task, "6 4\n0 0").correct
    assert not verify(task, "6 4\n0 0\n\n6 3\n0 0").correct


def test_the_choices_label_is_not_taken_for_a_position(loaded: dict[str, Any]) -> None:
    references = {r["task_id"]: r["reference"] for r in loaded["arc_challenge"]["tasks"]}
    assert references == {"own_1": "B", "own_2": "B", "own_3": "B"}


def test_gsm8k_keeps_answer_and_worked_solution_apart(loaded: dict[str, Any]) -> None:
    task = first("gsm8k", loaded)
    assert task.privilege.reference == "1500"
    assert task.privilege.solution == "She has 6 * 250 = 1500 pens."


# -- without a Hub -------------------------------------------------------------------------------------------------


def test_what_a_recipe_says_wins_over_the_preset() -> None:
    spec = expand(SourceSpec(source="gsm8k", count=5, split="test", prompt="q", revision="v1"), "tasks.train[0]")
    assert (spec.source, spec.subset, spec.split, spec.prompt, spec.verifier) == (
        "hub:openai/gsm8k",
        "main",
        "test",
        "q",
        "math",
    )
    assert spec.count == 5
    assert spec.preset == "gsm8k"


def test_an_unknown_preset_is_named_with_its_neighbour() -> None:
    with pytest.raises(UsageError, match=r"^at\.source: no preset 'gsm8'; did you mean 'gsm8k'\?.*tasks list`$"):
        expand(SourceSpec(source="gsm8", count=1), "at")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_known_fields_and_says_what_it_is(name: str) -> None:
    preset = PRESETS[name]
    SourceSpec(source=preset.source, count=1, **preset.fields)  # strict: an unknown field or verifier is refused
    assert preset.title and preset.domain and preset.size and preset.licence and preset.note
    assert preset.privilege in ("answer", "solution", "tests")


class Bomb:
    def __reduce__(self) -> Any:
        return (print, ("run",))


def lcb_row(packed: bytes) -> dict[str, Any]:
    return dict(SEEDS["live_code_bench"].rows[0]) | {"private_test_cases": base64.b64encode(packed).decode()}


@pytest.mark.parametrize(
    "packed",
    [
        zlib.compress(pickle.dumps(Bomb())),
        zlib.compress(pickle.dumps([json.dumps(stdin(1))])),
        zlib.compress(pickle.dumps({"a": 1})),
        zlib.compress(pickle.dumps(json.dumps(stdin(1)))[:-3]),
        zlib.compress(b"\x80\x04cos\nsystem\nX\x02\x00\x00\x00ls\x85R."),
        zlib.compress(pickle.dumps("[" * 100_000)),
        zlib.compress(pickle.dumps(json.dumps({"input": "1"}))),
        pickle.dumps(json.dumps(stdin(1))),
        b"\x00",
    ],
    ids=["call", "list", "dict", "cut", "system", "deep", "no list", "not compressed", "no archive"],
)
def test_a_pickle_that_is_more_than_one_text_is_a_bad_row_and_is_not_run(
    packed: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="private_test_cases"):
        live_code_bench(lcb_row(packed), {})
    assert capfd.readouterr().out == ""


def test_an_archive_that_unpacks_to_too_much_is_a_bad_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rl2f_hub.tasks.code_converters.MAX_TESTS_BYTES", 1000)
    with pytest.raises(ValueError, match="more than"):
        live_code_bench(lcb_row(zlib.compress(pickle.dumps("x" * 100_000))), {})


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_private_tests_of_every_pickle_protocol_are_read(protocol: int) -> None:
    row = lcb_row(zlib.compress(pickle.dumps(json.dumps(stdin(3)[1:]), protocol)))
    assert len(json.loads(live_code_bench(row, {})["_tests"])["cases"]) == 3


def test_max_cases_keeps_the_first_tests() -> None:
    row = SEEDS["codeforces"].rows[0]
    converted = codeforces(row, {"max_cases": 2})
    assert converted is not None
    assert json.loads(converted["_tests"])["cases"] == [["1 2\n", "7\n"], ["10 5\n", "19\n"]]
    with pytest.raises(ValueError, match="max_cases"):
        codeforces(row, {"max_cases": 0})


@pytest.mark.parametrize("converter", [mbpp, apps, codeforces, live_code_bench])
def test_a_row_of_another_schema_is_a_bad_row_or_left_out(converter: Any) -> None:
    for row in ({}, {"text": 1}, {"input_output": 5}, {"prompt": None}, {"question_content": b"x"}):
        try:
            assert converter(row, {}) is None
        except ValueError as error:
            assert "column" in str(error)


@pytest.mark.parametrize(
    "tests",
    ['{"inputs": 5, "outputs": 5}', '{"inputs": ["1"], "outputs": []}', "[1]", "nul", "9" * 5000, "[" * 100_000],
)
def test_apps_problems_without_usable_tests_are_left_out(tests: str) -> None:
    assert apps(dict(SEEDS["apps"].rows[0]) | {"input_output": tests}, {}) is None


def test_a_function_name_from_a_row_cannot_be_code() -> None:
    tests = json.dumps({"fn_name": "print(1) or f", "inputs": [[1]], "outputs": [1]})
    with pytest.raises(ValueError, match="the function to test is named"):
        apps(dict(SEEDS["apps"].rows[0]) | {"input_output": tests}, {})


@pytest.mark.parametrize(
    ("problem", "answer", "kept"),
    [
        ("How can we improve it?", "3", True),
        ("What is $f$?", r"f(x) = \frac{\sin x}{2}", True),
        ("Which?", r"\text{all odd } n", False),
        ("How far?", r"5 \text{ km}", True),
        ("Prove it.", "3", False),
        ("Show that it is so.", "3", False),
        ("Which?", "there are infinitely many", False),
        ("Which?", "1" * 200, False),
        ("Which?", "", False),
    ],
)
def test_omni_math_keeps_answers_that_a_rule_can_check(problem: str, answer: str, kept: bool) -> None:
    assert (omni_math({"problem": problem, "answer": answer}, {}) is not None) is kept
