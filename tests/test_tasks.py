"""Task sources: what they give, how they refuse, and that splits stay apart."""

from __future__ import annotations

import ast
import itertools
import json
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from rl2f_hub.cli import app
from rl2f_hub.errors import UsageError
from rl2f_hub.recipe import SourceSpec
from rl2f_hub.recipe.task_sections import TasksSpec
from rl2f_hub.records import Privilege, Task, Verdict
from rl2f_hub.runtime import permits
from rl2f_hub.tasks import load_tasks, near_key, request_for, stream
from rl2f_hub.tasks.mutants import mutants
from rl2f_hub.tasks.reasoning_gym import entry_of
from rl2f_hub.tasks.validate import perturbed, summary_rows, validate
from rl2f_hub.tasks.wrappings import wrapped
from rl2f_hub.verify import VERIFIERS, Verifier, verify

PRODUCTS = "reasoning_gym:products"
SMALL = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 2}


def load(split: str = "train", **source: Any) -> list[Task]:
    return load_tasks({split: [SourceSpec(**source)]}, 7)[split]


def write(path: Path, *rows: Any) -> str:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n", encoding="utf-8")
    return f"jsonl:{path}"


# -- reasoning-gym -------------------------------------------------------------------------------------------------


def test_reasoning_gym_tasks_are_the_data_sets_items() -> None:
    for task in load(source=PRODUCTS, count=20, config=SMALL, verifier="integer"):
        entry = entry_of(task)
        assert task.prompt == entry["question"].strip()
        assert task.privilege.reference == str(entry["answer"])
        assert task.source == PRODUCTS
        assert task.domain == "arithmetic"
        assert task.verifier == "integer"
        assert task.split == "train"


def test_answer_range_keeps_only_answers_within() -> None:
    tasks = load(source=PRODUCTS, count=30, config=SMALL, answer_range=[10, 99])
    assert len(tasks) == 30
    assert all(10 <= int(t.privilege.reference) <= 99 for t in tasks)


def test_an_unknown_source_is_named_with_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"tasks\.train\[0\]\.source: 'xml:x' is unknown; known: "):
        load(source="xml:x", count=1)
    with pytest.raises(UsageError, match="is unknown"):
        load(source="reasoning_gym:", count=1)


def test_an_unknown_data_set_is_named_with_its_neighbour() -> None:
    with pytest.raises(UsageError, match=r"'reasoning_gym:product' is unknown; did you mean 'products'\?"):
        load(source="reasoning_gym:product", count=1)


@pytest.mark.parametrize("config", [{"min_trems": 2}, {"min_terms": 0}, {"min_terms": 9, "max_terms": 2}])
def test_a_refused_config_is_a_usage_error(config: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=r"products: config .* was refused"):
        load(source=PRODUCTS, count=1, config=config)


def test_a_range_without_answers_is_refused() -> None:
    with pytest.raises(UsageError, match="widen `answer_range`"):
        load(source=PRODUCTS, count=1, config=SMALL, answer_range=[-5, -1])


def test_too_many_tasks_asked_for_is_refused_with_the_number_there_is() -> None:
    with pytest.raises(UsageError, match=r"tasks\.train\[0\]\.count: .* has only \d+ tasks .* 500 were asked for"):
        load(source=PRODUCTS, count=500, config={**SMALL, "max_digits": 1})


# -- JSON Lines ----------------------------------------------------------------------------------------------------


def test_jsonl_rows_become_tasks(tmp_path: Path) -> None:
    row = {"prompt": " Ask 1? ", "reference": 42, "task_id": "mine", "domain": "maths", "solution": "6 * 7"}
    source = write(tmp_path / "own.jsonl", row, "", {"prompt": "Ask 2?", "reference": "plum"})
    tasks = {t.task_id: t for t in load(source=source, count=2, verifier="text")}
    assert set(tasks) == {"mine", "own-3"}
    assert tasks["mine"].prompt == "Ask 1?"
    assert tasks["mine"].privilege.reference == "42"
    assert tasks["mine"].privilege.solution == "6 * 7"
    assert tasks["mine"].domain == "maths"
    assert tasks["own-3"].verifier == "text"


BAD_ROWS = {
    "not json": "{prompt: 1",
    "not an object": "[1, 2]",
    "no prompt": {"reference": "1"},
    "no reference": {"prompt": "a"},
    "null reference": {"prompt": "a", "reference": None},
    "boolean reference": {"prompt": "a", "reference": True},
    "unknown verifier": {"prompt": "a", "reference": "1", "verifier": "magic"},
    "foreign verifier": {"prompt": "a", "reference": "1", "verifier": "reasoning_gym"},
    "binary": "\x00\x01",
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_named_by_its_line_or_skipped(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = {"prompt": "Ask?", "reference": "1"}
    source = write(tmp_path / "rows.jsonl", good, "", BAD_ROWS[name], {**good, "prompt": "Ask more?"})
    with pytest.raises(UsageError, match=r"rows\.jsonl, line 3: .*on_bad_row: skip"):
        load(source=source, count=2)
    with caplog.at_level(logging.WARNING):
        tasks = load(source=source, count=2, on_bad_row="skip")
    assert sorted(t.task_id for t in tasks) == ["rows-1", "rows-4"]
    assert "1 bad rows skipped" in caplog.text


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file"):
        load(source=f"jsonl:{tmp_path}/none.jsonl", count=1)


# -- mixing --------------------------------------------------------------------------------------------------------


def test_a_table_with_other_names_or_without_rows_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("q,a\n1+1?,2\n")
    (tmp_path / "empty.csv").write_text("q,a\n")
    with pytest.raises(UsageError, match=r"no column 'prompt'; known: a, q; give the source its column names"):
        load(source=f"csv:{tmp_path}/own.csv", count=1)
    for file, bad in (("own", r" \(1 bad rows skipped\)"), ("empty", "")):
        with pytest.raises(UsageError, match=rf"tasks\.train\[0\]\.source: .* has no tasks{bad}; check it"):
            load(source=f"csv:{tmp_path}/{file}.csv", count=1, on_bad_row="skip")


def test_several_sources_are_mixed_and_shuffled() -> None:
    sources = [
        SourceSpec(source=PRODUCTS, count=30, config=SMALL),
        SourceSpec(source="reasoning_gym:chain_sum", count=30),
    ]
    names = [t.source for t in load_tasks({"train": sources}, 1)["train"]]
    assert names.count(PRODUCTS) == 30
    assert len(names) == 60
    assert len(list(itertools.groupby(names))) > 10


def test_a_file_given_to_two_splits_is_divided(tmp_path: Path) -> None:
    source = write(tmp_path / "all.jsonl", *({"prompt": f"Ask {n}?", "reference": n} for n in range(10)))
    spec = {"train": [SourceSpec(source=source, count=6)], "eval": [SourceSpec(source=source, count=4)]}
    splits = load_tasks(spec, 0)
    assert len({t.prompt for split in splits.values() for t in split}) == 10
    assert {t.split for t in splits["eval"]} == {"eval"}


@given(st.lists(st.integers(0, 999), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_near_key_sees_no_order_of_numbers_case_or_spacing(numbers: list[int], rnd: Any) -> None:
    shuffled = list(numbers)
    rnd.shuffle(shuffled)
    assert near_key(f"What is {' * '.join(map(str, numbers))}?") == near_key(
        f"what  is\n{' * '.join(map(str, shuffled))}? "
    )
    assert near_key(f"What is {numbers[0]} + 1?") != near_key(f"What is {numbers[0]} * 1?")
    assert near_key(f"Is {numbers[0]} odd?") != near_key(f"Is {numbers[0] + 1} odd?")


# -- weighted mixes ------------------------------------------------------------------------------------------------

MIX = [{"source": PRODUCTS, "weight": 3}, {"source": "reasoning_gym:lcm", "weight": 1}, {"source": "reasoning_gym:gcd"}]


@given(st.integers(1, 500), st.lists(st.floats(0.01, 100), min_size=1, max_size=6))
def test_a_weighted_mix_gives_the_count_asked_for_and_each_share_within_one(count: int, weights: list[float]) -> None:
    mix = [{"source": f"jsonl:{i}", "weight": w} for i, w in enumerate(weights)]
    spec = TasksSpec.model_validate({"train": {"count": count, "mix": mix}, "eval": {"count": 1, "mix": mix}})
    counts = {s.source: s.count for s in spec.train}
    assert sum(counts.values()) == count
    for i, weight in enumerate(weights):
        assert abs(counts.get(f"jsonl:{i}", 0) - count * weight / sum(weights)) < 1


def test_a_mix_is_loaded_by_weight() -> None:
    spec = TasksSpec.model_validate({"train": {"count": 50, "mix": MIX}, "eval": [{"source": PRODUCTS, "count": 1}]})
    names = [t.source for t in load_tasks({"train": spec.train}, 1)["train"]]
    assert [names.count(m["source"]) for m in MIX] == [30, 10, 10]


@pytest.mark.parametrize(
    ("mix", "words"),
    [
        ({"count": 5}, "keys `count` and `mix`"),
        ({"count": 5, "mix": MIX, "seed": 1}, "keys `count` and `mix`"),
        ({"count": 0, "mix": MIX}, "at least 1"),
        ({"count": 5, "mix": [{"source": PRODUCTS, "weight": 0}]}, "above 0"),
        ({"count": 5, "mix": [{"source": PRODUCTS, "weight": float("nan")}]}, "above 0"),
        ({"count": 5, "mix": ["x"]}, "above 0"),
        ({"count": 5, "mix": [{"source": PRODUCTS, "count": 3}]}, "not a `count`"),
    ],
)
def test_a_bad_mix_says_what_is_wrong(mix: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TasksSpec.model_validate({"train": mix, "eval": [{"source": PRODUCTS, "count": 1}]})


# -- levels --------------------------------------------------------------------------------------------------------


def test_a_level_makes_tasks_harder_and_is_recorded() -> None:
    def mean_length(level: int) -> float:
        tasks = load(source="reasoning_gym:chain_sum", count=30, level=level)
        assert {json.loads(t.config)["level"] for t in tasks} == {level}
        return sum(len(t.prompt) for t in tasks) / len(tasks)

    assert mean_length(0) < mean_length(3)
    with pytest.raises(UsageError, match=r"level 99 is above its highest, \d"):
        load(source="reasoning_gym:chain_sum", count=1, level=99)
    with pytest.raises(UsageError, match="composite has no levels"):
        load(source="reasoning_gym:composite", count=1, level=0)


# -- Parquet and column mapping ------------------------------------------------------------------------------------


def test_parquet_rows_become_tasks_by_column_names(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"q": {"text": f"Ask {n}?"}, "a": n, "why": f"because {n}", "kind": n % 2} for n in range(6)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "own.parquet")
    mapping = {"prompt": "Here: {q.text}", "reference": "a", "solution": "why", "where": {"kind": 1}}
    tasks = load(source=f"parquet:{tmp_path}/own.parquet", count=3, verifier="integer", **mapping)
    assert sorted(t.prompt for t in tasks) == ["Here: Ask 1?", "Here: Ask 3?", "Here: Ask 5?"]
    assert {t.privilege.kind for t in tasks} == {"solution"}
    with pytest.raises(UsageError, match=r"row 1: no column 'answer'"):
        load(source=f"parquet:{tmp_path}/own.parquet", count=1, prompt="q.text", reference="answer")
    with pytest.raises(UsageError, match=r"row 1: column 'q' is .* needed|row 1: .*whole number"):
        load(source=f"parquet:{tmp_path}/own.parquet", count=1, prompt="q.text", reference="q", verifier="integer")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(UsageError, match="no readable Parquet file"):
        load(source=f"parquet:{tmp_path}/bad.parquet", count=1)


def test_a_value_that_python_cannot_hold_is_a_bad_row_of_its_own(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    texts = pyarrow.array([b"one", b"\xff", b"three"], pyarrow.binary()).view(pyarrow.string())
    dates = pyarrow.array([0, 0, 2**62]).view(pyarrow.timestamp("us"))
    table = pyarrow.table({"prompt": texts, "reference": ["1", "2", "3"], "when": dates})
    pyarrow.parquet.write_table(table, tmp_path / "odd.parquet")
    reports: list[dict[str, Any]] = []
    spec = SourceSpec(source=f"parquet:{tmp_path}/odd.parquet", count=1, on_bad_row="skip")
    tasks = load_tasks({"train": [spec]}, 1, reports)["train"]
    assert [task.prompt for task in tasks] == ["one"]
    with pytest.raises(UsageError, match="row 2: a value cannot be read"):
        load(source=f"parquet:{tmp_path}/odd.parquet", count=3)
    cut = (tmp_path / "odd.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(cut[:40] + bytes(8) + cut[48:-40] + bytes(16) + cut[-24:])
    with pytest.raises(UsageError, match="no readable Parquet file") as caught:
        load(source=f"parquet:{tmp_path}/cut.parquet", count=1)
    assert "\n" not in str(caught.value)


# -- CSV -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_rows_become_tasks_whatever_separates_them(tmp_path: Path, separator: str) -> None:
    rows = [
        ["question", "answer", "why"],
        ['"Which, of a and b; is\nfirst?"', "a", "order"],
        ["Café or Čaj?", "čaj", ""],
    ]
    text = "\r\n".join(separator.join(row) for row in rows)
    (tmp_path / "own.csv").write_text(f"\ufeff{text}", encoding="utf-8")  # as a spreadsheet writes it
    tasks = load(source=f"csv:{tmp_path}/own.csv", count=2, prompt="question", reference="answer", solution="why")
    found = {t.prompt: t.privilege for t in tasks}
    assert set(found) == {"Which, of a and b; is\nfirst?", "Café or Čaj?"}
    assert found["Café or Čaj?"].reference == "čaj"
    assert {p.kind for p in found.values()} == {"solution", "answer"}  # an empty cell is no solution


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("Ask?,1,2", r"line 2: .*more values"),
        ('"Ask?,1', r"line 2: .*not CSV"),
        ("Ask?", r"line 2: .*null"),
        (",1", "empty"),
    ],
)
def test_bad_csv_rows_are_named_or_counted(tmp_path: Path, line: str, match: str) -> None:
    file = tmp_path / "own.csv"
    file.write_text(f"prompt,reference\n{line}\n")
    with pytest.raises(UsageError, match=match):
        load(source=f"csv:{file}", count=1)
    file.write_text(f"prompt,reference\nGood?,1\n{line}\n")
    reports: list[dict[str, Any]] = []
    spec = SourceSpec(source=f"csv:{file}", count=1, on_bad_row="skip")
    assert [t.prompt for t in load_tasks({"train": [spec]}, 7, reports)["train"]] == ["Good?"]


UMLAUT = '{"prompt": "Käse?", "reference": "1"}\n'


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("jsonl", b"\xef\xbb\xbf" + UMLAUT.encode()),
        ("jsonl", UMLAUT.encode("utf-16")),
        ("jsonl", UMLAUT.encode("utf-16-le")),
        ("jsonl", b'\n{"prompt": "Other?", "reference": "2"}\r\n\n\xef\xbb\xbf' + UMLAUT.encode()),
        ("csv", "prompt,reference\r\nKäse?,1\r\n".encode("utf-16")),
        ("csv", "sep=;\nprompt;reference\nKäse?;1\n".encode()),
        ("csv", "\n\n prompt , reference \n,\n\nKäse?,1,\n , \n".encode()),
        ("csv", b'"q,,";"a, b";reference\n' + "Käse?;z;2\n".encode()),
        ("csv", f"why,prompt,reference\n{'x' * 200_000},Käse?,1\n".encode()),
        ("tsv", 'prompt\treference\n"What, is\nit?"\t2\nKäse?\t1\n'.encode()),
    ],
)
def test_files_are_read_as_other_programs_write_them(tmp_path: Path, kind: str, content: bytes) -> None:
    file = tmp_path / f"own.{kind}"
    file.write_bytes(content)
    spec = SourceSpec(source=f"{kind}:{file}", count=1, prompt="q,," if b"q,," in content else "prompt")
    rows = list(stream(request_for(spec)))
    assert rows[-1].prompt == "Käse?"
    assert len(rows) == (2 if b"Other" in content or b"What" in content else 1)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_line_in_another_encoding_is_a_bad_row_of_its_own(tmp_path: Path, kind: str) -> None:
    rows = [("Good?", "1"), ("Käse?", "2"), ("Fine?", "3")]
    lines = [f'{{"prompt": "{p}", "reference": "{r}"}}' if kind == "jsonl" else f"{p},{r}" for p, r in rows]
    file = tmp_path / f"own.{kind}"
    file.write_bytes("\n".join(["prompt,reference"] * (kind == "csv") + lines).encode("latin-1"))
    with pytest.raises(UsageError, match=r"line [23]: not UTF-8 text; save the file as UTF-8"):
        load(source=f"{kind}:{file}", count=3)
    reports: list[dict[str, Any]] = []
    spec = SourceSpec(source=f"{kind}:{file}", count=2, on_bad_row="skip")
    assert {t.prompt for t in load_tasks({"train": [spec]}, 1, reports)["train"]} == {"Good?", "Fine?"}
    with pytest.raises(UsageError, match=r"only 2 tasks .* \(1 bad rows skipped\)"):
        load(source=f"{kind}:{file}", count=3, on_bad_row="skip")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b'prompt,reference\nA?,1\n"B?,2\nC?,3\nD?,4\n', r"own.csv', line 3: not CSV \(a quote is never closed"),
        (b"prompt,reference,prompt \nA?,1,B?\n", "two columns are named 'prompt'"),
        (b"fr\xe4ge,reference\nA?,1\n", "line 1: no names of columns: not UTF-8"),
        ("prompt,reference\nA?,1\n".encode("utf-16")[:-1], "begins as UTF-16 and is not UTF-8"),
    ],
)
def test_a_table_that_is_damaged_as_a_whole_is_refused_also_where_bad_rows_are_skipped(
    tmp_path: Path, content: bytes, match: str
) -> None:
    (tmp_path / "own.csv").write_bytes(content)
    with pytest.raises(UsageError, match=match):
        load(source=f"csv:{tmp_path}/own.csv", count=4, on_bad_row="skip")


def test_csv_rows_are_chosen_by_numbers_and_truth_values_too(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("prompt,reference,level,hard\nA?,007,1,TRUE\nB?,NA,2,False\nC?,3,1,false\n")
    (task,) = load(source=f"csv:{tmp_path}/own.csv", count=1, where={"level": [1, 5], "hard": True})
    assert (task.prompt, task.privilege.reference) == ("A?", "007")


def test_one_id_is_never_that_of_two_tasks(tmp_path: Path) -> None:
    rows = [{"prompt": f"Ask {n}?", "reference": n, "task_id": n // 2} for n in range(4)]
    source = write(tmp_path / "own.jsonl", *rows)
    with pytest.raises(UsageError, match=r"line 2: its id '0' is that of an earlier row"):
        load(source=source, count=4)
    reports: list[dict[str, Any]] = []
    spec = SourceSpec(source=source, count=2, on_bad_row="skip")
    assert len(load_tasks({"train": [spec]}, 1, reports)["train"]) == 2
    assert reports[0]["bad_rows"] == 1
    for folder, first in (("a", 0), ("b", 10)):
        (tmp_path / folder).mkdir()
        write(
            tmp_path / folder / "x.jsonl", *({"prompt": f"Say {n}?", "reference": n} for n in range(first, first + 3))
        )
    two = [SourceSpec(source=f"jsonl:{tmp_path}/{folder}/x.jsonl", count=3) for folder in "ab"]
    reports = []
    splits = load_tasks({"train": [two[0]], "eval": [two[1]]}, 1, reports)
    assert len({task.task_id for split in splits.values() for task in split}) == 6
    assert [report.get("renamed_ids", 0) for report in reports] == [0, 3]


# -- plug-ins ------------------------------------------------------------------------------------------------------

PLUGIN = """
class Mine:
    def __init__(self, top=5):
        self.top = top

    def tasks(self, seed):
        for n in range(self.top):
            yield {"prompt": f"Say the letter {n} places after {chr(97 + seed)}", "reference": chr(97 + seed + n)}

    def verify(self, task, attempt):
        if attempt == "odd":
            return "odd"
        return 0.5 if attempt == "half" else attempt.strip() == task.privilege.reference


class Plain:
    def tasks(self, seed):
        yield {"prompt": "Say plum", "reference": "plum"}


class Broken:
    def __init__(self):
        raise RuntimeError("no")
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(PLUGIN)
    return tmp_path / "mine.py"


def test_a_class_in_an_own_file_runs_only_when_allowed(plugin: Path) -> None:
    with pytest.raises(UsageError, match="--allow-local-code"):
        load(source=f"python:{plugin}:Mine", count=3)
    with permits.allowing(local_code=True):
        tasks = load(source=f"python:{plugin}:Mine", count=3, config={"top": 3})
        assert {t.verifier for t in tasks} == {"python"}
        for task in tasks:
            assert verify(task, task.privilege.reference).correct
            assert not verify(task, "?").correct
            assert verify(task, "half").score == 0.5
            with pytest.raises(ValueError, match="return a Verdict"):
                verify(task, "odd")
        plain = load(source=f"python:{plugin}:Plain", count=1)[0]
        assert plain.verifier == "text"
        assert verify(plain, "plum").correct
        with pytest.raises(UsageError, match="only 2 tasks"):
            load(source=f"python:{plugin}:Mine", count=3, config={"top": 2})
        for name, words in (("Broken", "cannot be made: RuntimeError: no"), ("Nobody", "AttributeError")):
            with pytest.raises(UsageError, match=words):
                load(source=f"python:{plugin}:{name}", count=1)
    with pytest.raises(UsageError, match="--allow-local-code"):
        load(source=f"python:{plugin}:Mine", count=3)


# -- validation ----------------------------------------------------------------------------------------------------


def test_a_right_verifier_is_found_right_and_a_wrong_one_wrong(plugin: Path, tmp_path: Path) -> None:
    good = validate(SourceSpec(source="reasoning_gym:chain_sum", count=10))
    assert good.false_rejects == good.false_accepts == good.errors == 0
    assert good.tried["perturbed"] >= 20
    (tmp_path / "lenient.py").write_text(PLUGIN.replace("attempt.strip() == task.privilege.reference", "True"))
    (tmp_path / "strict.py").write_text(PLUGIN.replace("attempt.strip() == task.privilege.reference", "False"))
    with permits.allowing(local_code=True):
        lenient = validate(SourceSpec(source=f"python:{tmp_path}/lenient.py:Mine", count=4))
        strict = validate(SourceSpec(source=f"python:{tmp_path}/strict.py:Mine", count=4))
    assert lenient.false_accepts > 0.5
    assert lenient.false_rejects == 0
    assert strict.false_rejects == 1
    assert strict.false_accepts == 0
    assert strict.examples


def test_a_source_that_cannot_be_validated_says_why() -> None:
    report = validate(SourceSpec(source="reasoning_gym:composite", count=3))
    assert report.tasks == 0
    assert report.note


CAPITALS = "question,answer\nCapital of Italy?,Rome\nCapital of Peru?,Lima\nCapital of Japan?,Tokyo\n"


@pytest.fixture
def capitals(tmp_path: Path) -> Path:
    (tmp_path / "capitals.csv").write_text(CAPITALS)
    return tmp_path / "capitals.csv"


def judging(rule: Callable[[Task, str], bool]) -> Verifier:
    return Verifier(
        lambda task, attempt: Verdict((ok := rule(task, attempt)), float(ok), attempt, "by the test's rule")
    )


def test_wrappings_that_a_verifier_misjudges_are_named(capitals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SourceSpec(source=f"csv:{capitals}", count=3, prompt="question", reference="answer")
    monkeypatch.setitem(VERIFIERS, "text", judging(lambda task, attempt: attempt.strip() == task.privilege.reference))
    bare_only = validate(spec)
    assert "wrapped: bold 0/3" in bare_only.failed_wrappings
    assert not [name for name in bare_only.failed_wrappings if name.startswith("trap: ")]
    assert bare_only.false_rejects > 0.5
    assert bare_only.false_accepts == 0
    monkeypatch.setitem(VERIFIERS, "text", judging(lambda task, attempt: task.privilege.reference in attempt))
    anywhere = validate(spec)
    assert "trap: hedged 3/3" in anywhere.failed_wrappings
    assert not [name for name in anywhere.failed_wrappings if name.startswith("wrapped: ")]
    assert anywhere.false_accepts > 0.3
    named = " ".join(summary_rows([anywhere])[0])
    assert "trap: denied 3/3" in named
    assert "wrapped" not in named


@pytest.mark.parametrize(
    ("verifier", "right", "wrong", "least"),
    [
        ("text", "Rome", "Lima", 55),
        ("integer", "7", "12", 60),
        ("math", "\\frac{1}{2}", "3", 60),
        ("choice", "B", "C", 60),
        ("grid", "1 2\n3 4", "1 2\n3 5", 10),
        ("unit_tests", "def f():\n    return 1", "def f():\n    return 2", 10),
        ("environment", "[1]", "[2]", 0),
    ],
)
def test_every_wrapping_holds_the_answer_in_a_form_of_its_own(
    verifier: str, right: str, wrong: str, least: int
) -> None:
    task = Task("t", "s", "d", "What?", Privilege("answer", right), verifier)
    made = list(wrapped(task, right, wrong))
    assert len(made) >= least
    assert len({attempt for _, attempt in made}) == len(made)
    assert len({(wrapping.name, wrapping.right) for wrapping, _ in made}) == len(made)
    for wrapping, attempt in made:
        assert "%A%" not in attempt
        assert "%W%" not in attempt
        assert right in attempt or not wrapping.right or "JSON" in wrapping.name
    assert all(wrong not in attempt for _, attempt in wrapped(task, right, None)) or right in wrong


def test_a_wrapping_keeps_what_is_special_in_an_answer() -> None:
    task = Task("t", "s", "d", "What?", Privilege("answer", 'a "%W%" b.'), "text")
    made = {wrapping.name: attempt for wrapping, attempt in wrapped(task, 'a "%W%" b.', "c") if wrapping.right}
    assert json.loads(made["JSON"]) == {"answer": 'a "%W%" b.'}
    assert made["stated"] == 'The answer is a "%W%" b.'
    assert "boxed" not in {w.name for w, _ in wrapped(task, "}{", "c")}


def test_a_table_is_validated_without_a_recipe(capitals: Path) -> None:
    columns = ["--prompt", "question", "--reference", "answer"]
    result = CliRunner().invoke(app, ["tasks", "validate", f"csv:{capitals}", *columns, "--json"])
    (report,) = json.loads(result.stdout)["sources"]
    assert (report["verifier"], report["tasks"]) == ("text", 3)
    assert report["accepted"]["reference"] == "3/3"
    assert report["accepted"]["wrapped: stated"] == "3/3"
    lines = capitals.with_suffix(".jsonl")
    lines.write_text("\n".join(json.dumps({"q": f"What is {n} + 1?", "a": str(n + 1)}) for n in range(4)))
    columns = ["--prompt", "q", "--reference", "a", "--verifier", "integer"]
    result = CliRunner().invoke(app, ["tasks", "validate", f"jsonl:{lines}", *columns, "--json"])
    (report,) = json.loads(result.stdout)["sources"]
    assert (report["verifier"], report["accepted"]["reference"]) == ("integer", "4/4")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["csv:FILE", "--prompt", "q", "--reference", "answer"], "no column 'q'; known: answer, question"),
        (["csv:FILE", "--prompt", "question"], "no column 'reference'"),
        (["csv:FILE.old", "--prompt", "question", "--reference", "answer"], "no file"),
        (["csv:FILE", "--verifier", "txt"], "--verifier: 'txt' is unknown"),
        (["csv:FILE", "--prompt", "question", "--reference", "answer", "--verifier", "integer"], "not a whole number"),
        (["reasoning_gym:gcd", "--prompt", "question"], "--prompt: reasoning_gym:gcd does not take it"),
        (["quickstart", "--verifier", "integer"], "--verifier: quickstart does not take it"),
    ],
)
def test_what_a_table_cannot_be_validated_for_is_one_line(capitals: Path, arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(app, ["tasks", "validate", *(a.replace("FILE", str(capitals)) for a in arguments)])
    assert isinstance(result.exception, UsageError)
    assert says in str(result.exception)
    assert "\n" not in str(result.exception)


@given(st.text(max_size=60), st.integers(0, 99))
def test_perturbed_references_differ_by_more_than_spacing_and_case(reference: str, seed: int) -> None:
    for text in perturbed(reference, random.Random(seed)):
        assert " ".join(text.split()).casefold() != " ".join(reference.split()).casefold()


def test_mutants_are_valid_programs_that_differ() -> None:
    code = "def f(x):\n    if x > 2 and x in (3, 4):\n        return x + 1\n    return 0\n"
    found = mutants(code, 0, 5)
    assert len(found) == len(set(found)) == 5
    assert ast.unparse(ast.parse(code)) not in found
    for text in found:
        ast.parse(text)
    assert mutants("not python", 0, 5) == []
