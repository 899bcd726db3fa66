"""`hub:` sources against the embedded Hub: what they give, how the revision is kept, and one line for each mistake."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hub_client import env_of, run

from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.hub.errors import reading_errors
from rl2f_hub.localhub import LocalHub
from rl2f_hub.localhub.users import add_user
from rl2f_hub.recipe.task_sections import SourceSpec
from rl2f_hub.tasks import Request
from rl2f_hub.tasks.hub import _builder
from rl2f_hub.tasks.presets import PRESETS

SUMS = {"question": "string", "answer": "string"}
MAP = {"prompt": "question", "reference": "answer", "verifier": "integer"}


def sums(count: int, start: int = 1) -> list[dict[str, Any]]:
    return [{"question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(start, start + count)]


def lines(*rows: Any) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def push(repo: str, rows: list[dict[str, Any]], features: dict[str, Any] = SUMS, **more: Any) -> dict[str, Any]:
    return {"do": "push", "repo": f"own/{repo}", "rows": rows, "features": features, **more}


def load(repo: str, count: int = 3, **more: Any) -> dict[str, Any]:
    token = {"token": more.pop("token")} if "token" in more else {}
    return {"do": "load", "source": {"source": f"hub:own/{repo}", "count": count, **MAP, **more}, **token}


NESTED = {"q": {"text": "string", "unit": "string"}, "a": {"value": "int64", "notes": ["string"]}}
MIXED = [
    {"question": "What is 1 + 0?", "answer": "1"},
    {"question": None, "answer": "2"},
    {"question": "What is 3 + 0?", "answer": None},
    {"question": "What is 4 + 0?", "answer": "four"},
    {"question": "  ", "answer": "5"},
    {"question": "What is 6 + 0?", "answer": "6"},
]
TABLE = "\ufeffquestion; answer ;ok\nWhich?;007;True\nWhat?;NA;False\n\nWho?;1.50;True\n"
TABLE_CARD = """---
configs:
- config_name: default
  data_files: train.csv
- config_name: tabs
  data_files: test.tsv
  sep: "\\t"
---
"""
FILL = [
    push("sums", sums(5)),  # its commit is asked for as @0
    push("sums", sums(5, start=101)),
    push("sums", sums(3, start=51), split="test"),
    push("sums", sums(5, start=201), revision="draft"),
    push("two", sums(4), config="easy"),
    push("two", sums(4, start=1001), config="hard"),
    push(
        "nested",
        [
            {"q": {"text": f"How far is {n} and {n}?", "unit": "m"}, "a": {"value": 2 * n, "notes": []}}
            for n in (1, 2, 3)
        ],
        NESTED,
    ),
    push("mixed", MIXED),
    push("secret", sums(4), private=True),
    push("types", [{"question": "Is it?", "answer": True}] * 2, {"question": "string", "answer": "bool"}),
    push("symbols", [{"question": "x?", "answer": r"\frac{1}{2}"}, {"question": "y?", "answer": "no idea, sorry"}]),
    {"do": "upload", "repo": "own/lines", "files": {"train.jsonl": lines(*sums(3)), "dev.jsonl": lines(*sums(3, 21))}},
    {
        "do": "upload",
        "repo": "own/table",  # of a kind each: numbers with zeros, NA, truth values, another separator, spaces in names
        "files": {"train.csv": TABLE, "test.tsv": TABLE.replace(";", "\t"), "README.md": TABLE_CARD},
    },
    {
        "do": "upload",
        "repo": "own/odd_table",
        "files": {"train.csv": TABLE, "test.tsv": TABLE, "README.md": TABLE_CARD.replace("sep", "decimal")},
    },
    {"do": "upload", "repo": "own/broken", "files": {"train.jsonl": lines(*sums(3)) + '{"question": "cut'}},
    {
        "do": "upload",
        "repo": "own/scripted",
        "files": {"scripted.py": "raise SystemExit('run')\n", "data.jsonl": lines(*sums(3))},
    },
    {"do": "upload", "repo": "own/words", "files": {"train.txt": "one\ntwo\n"}},
    {"do": "upload", "repo": "own/empty", "files": {"README.md": "# Nothing\n"}},
]
GOOD = {
    "main": load("sums", 5),
    "pinned": load("sums", 5, revision="@0"),
    "branch": load("sums", 5, revision="draft"),
    "streamed": load("sums", 5, streaming=True),
    "few of many": load("sums", 2, streaming=True, max_rows=2),
    "another split": load("sums", 3, split="test"),
    "subset": load("two", 4, subset="hard"),
    "template": load("nested", prompt="{q.text} Answer in {q.unit}.", reference="a.value"),
    "nested": load("nested", prompt="q.text", reference="a.value", solution="a.notes"),
    "where": load("sums", 2, where={"answer": ["202", "208"]}),
    "lines": load("lines", 3),
    "lines, dev": load("lines", 3, split="validation"),
    "table": load("table", 3, verifier="text", subset="default"),
    "table, streamed": load("table", 3, verifier="text", subset="default", streaming=True),
    "table, tabs": load("table", 2, verifier="text", subset="tabs", where={"ok": True}),
    "skipped": load("mixed", 2, on_bad_row="skip"),
    "math": load("symbols", 1, verifier="math"),
    "own token": load("secret", 4, token="own"),
}
BAD = {
    "no repository": (load("sum"), r"^tasks\.train\[0\]\.source: no data set 'own/sum' for this token; check the name"),
    "no name": ({"do": "load", "source": {"source": "hub:a/b/c", "count": 1, **MAP}}, r"write hub:<owner/name>$"),
    "private": (load("secret"), r"no data set 'own/secret' for this token"),
    "wrong token": (load("secret", token="hf_wrong"), r"own/secret.*(wrong|token).*HF_TOKEN"),
    "no revision": (
        load("sums", revision="v9"),
        r"\.revision: own/sums has no revision 'v9'; give a commit, a tag or a branch",
    ),
    "no split": (load("sums", split="tset"), r"\.split: own/sums: no split 'tset'; did you mean 'test'\?$"),
    "no subset": (load("two", subset="hrd"), r"\.subset: own/two: no subset 'hrd'; did you mean 'hard'\?$"),
    "subset needed": (load("two"), r"\.subset: own/two: `subset` is needed: easy, hard$"),
    "no prompt column": (
        load("sums", prompt="qestion"),
        r"\.prompt: own/sums has no column 'qestion'; did you mean 'question'\?$",
    ),
    "no column in a template": (
        load("sums", prompt="{question} {hint}"),
        r"\.prompt: own/sums has no column 'hint'; known: answer, question$",
    ),
    "no column, skipping": (
        load("sums", reference="anser", on_bad_row="skip"),
        r"\.reference: own/sums has no column 'anser'; did you",
    ),
    "no column to filter by": (load("sums", where={"level": 1}), r"\.where\.level: own/sums has no column 'level'"),
    "no column of a table": (
        load("table", prompt="qestion", subset="default", on_bad_row="skip"),
        "has no column 'qestion'; did",
    ),
    "large table": (
        load("table", verifier="text", subset="default", max_rows=2),
        r"\.max_rows: own/table, split train, has 3 rows",
    ),
    "odd table": (load("odd_table", subset="tabs"), r"the card of own/odd_table sets 'decimal' for its CSV files"),
    "no nested column": (
        load("nested", prompt="q.txt", reference="a.value"),
        r"row 0: no column 'q\.txt'; did you mean 'q\.text'\?",
    ),
    "null question": (
        load("mixed"),
        r"hub:own/mixed, row 1: column 'question' is empty \(null\); mend the row or set `on_bad_row: skip`$",
    ),
    "null answer": (load("mixed", where={"question": "What is 3 + 0?"}), r"row 2: column 'answer' is empty \(null\)"),
    "reference not a number": (
        load("mixed", where={"answer": "four"}),
        r"row 3: reference 'four' is not a whole number; mend",
    ),
    "reference not mathematics": (
        load("symbols", verifier="math"),
        r"row 1: reference 'no idea, sorry' is no mathematical answer",
    ),
    "blank question": (load("mixed", where={"answer": "5"}), r"row 4: column 'question' is empty"),
    "wrong type": (load("types"), r"row 0: column 'answer' is 'True' \(bool\), a text or number is needed"),
    "too large": (
        load("sums", max_rows=4),
        r"\.max_rows: own/sums, split train, has 5 rows, more than 4; set `streaming: true` or raise",
    ),
    "too large, size not on a card": (
        load("lines", max_rows=2),
        r"\.max_rows: own/lines, split train, has 3 rows, more than 2",
    ),
    "too few": (load("sums", 6), r"\.count: hub:own/sums has only 5 tasks"),
    "broken file": (load("broken"), r"own/broken: its files cannot be read \("),
    "broken file, streamed": (load("broken", 4, streaming=True), r"own/broken: its files cannot be read \("),
    "script": (
        load("scripted"),
        r"own/scripted needs its own program 'scripted\.py' to be read, and no data set's program is run",
    ),
    "another kind of file": (
        load("words"),
        r"own/words holds files of the kind 'text'; only parquet, json, csv are read",
    ),
    "no files": (load("empty"), r"own/empty: its files cannot be read"),
    "no prompt named": ({"do": "load", "source": {"source": "hub:own/sums", "count": 1}}, r"\.prompt: name the column"),
    "no reference named": (
        {"do": "load", "source": {"source": "hub:own/sums", "count": 1, "prompt": "question"}},
        r"\.reference: name",
    ),
    "a setting that is none": (
        load("sums", config={"max_csaes": 2}),
        r"\.config: 'max_csaes' is no setting of hub:own/sums$",
    ),
    "a preset that is none": (load("sums", preset="gsm8"), r"\.preset: 'gsm8' is unknown; did you mean 'gsm8k'\?$"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What every load of GOOD and BAD gave, in one process that read nothing before."""
    work = tmp_path_factory.mktemp("hub-tasks")
    decoy = work / "own" / "sums"  # a folder of the data set's name where the program runs
    decoy.mkdir(parents=True)
    (decoy / "train.jsonl").write_text(lines(*sums(9, 901)))
    with LocalHub.start(work / "hub", user="reader") as hub:
        own = add_user(hub.root, "own")
        fill = [step | {"token": own} for step in FILL]
        loads = [*GOOD.values(), *(step for step, _ in BAD.values())]
        loads = [step | ({"token": own} if step.get("token") == "own" else {}) for step in loads]
        got = run([*fill, *loads], env_of(hub, work / "home"), work)
    named = dict(zip([*GOOD, *BAD], got[len(FILL) :], strict=True))
    named["first commit"] = got[0]
    return named


def answers(result: dict[str, Any]) -> list[str]:
    assert "error" not in result, result["error"]
    return sorted((task["reference"] for task in result["tasks"]), key=lambda text: (len(text), text))


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_line_that_names_place_and_fix(name: str, results: dict[str, dict[str, Any]]) -> None:
    line = results[name].get("error", "no error")
    assert re.search(BAD[name][1], line), line
    assert line.startswith("tasks.train[0]")
    assert "\n" not in line
    assert len(line) < 420


def test_columns_become_a_task(results: dict[str, dict[str, Any]]) -> None:
    task = next(t for t in results["main"]["tasks"] if t["reference"] == "202")
    assert task["prompt"] == "What is 101 + 101?"
    assert task["verifier"] == "integer"
    assert task["source"] == "hub:own/sums"
    assert task["privilege"] == "answer"
    assert task["task_id"] == "sums-train-0"
    assert results["another split"]["tasks"][0]["task_id"].startswith("sums-test-")


def test_a_pinned_recipe_does_not_follow_main(results: dict[str, dict[str, Any]]) -> None:
    assert answers(results["pinned"]) == ["2", "4", "6", "8", "10"]
    assert answers(results["main"]) == ["202", "204", "206", "208", "210"]
    assert results["pinned"]["report"]["revision"] == results["first commit"]["commit"]
    assert results["pinned"]["report"]["pinned"] is True
    assert results["pinned"]["said"] == []


def test_a_branch_is_resolved_recorded_and_warned_about(results: dict[str, dict[str, Any]]) -> None:
    for name, branch in (("main", "main"), ("branch", "draft")):
        report, said = results[name]["report"], results[name]["said"]
        assert report["pinned"] is False
        assert len(said) == 1
        assert f"({branch} may move)" in said[0]
        assert f"`revision: {report['revision']}`" in said[0]
    assert answers(results["branch"])[0] == "402"
    assert results["branch"]["report"]["revision"] != results["main"]["report"]["revision"]


def test_streaming_gives_the_same_tasks(results: dict[str, dict[str, Any]]) -> None:
    assert results["streamed"]["tasks"] == results["main"]["tasks"]
    assert results["streamed"]["report"]["streaming"] is True
    assert answers(results["few of many"]) == ["202", "204"]


def test_subsets_and_splits_are_kept_apart(results: dict[str, dict[str, Any]]) -> None:
    assert answers(results["subset"])[0] == "2002"
    assert results["subset"]["tasks"][0]["task_id"].startswith("two-hard-train-")
    assert answers(results["another split"]) == ["102", "104", "106"]
    assert answers(results["lines"]) == ["2", "4", "6"]
    assert answers(results["lines, dev"]) == ["42", "44", "46"]


def test_values_of_a_table_stay_the_texts_that_they_are(results: dict[str, dict[str, Any]]) -> None:
    for name in ("table", "table, streamed"):
        assert {task["reference"] for task in results[name]["tasks"]} == {"007", "NA", "1.50"}
    assert {task["reference"] for task in results["table, tabs"]["tasks"]} == {"007", "1.50"}


def test_nested_columns_and_templates(results: dict[str, dict[str, Any]]) -> None:
    assert sorted(t["prompt"] for t in results["template"]["tasks"])[0] == "How far is 1 and 1? Answer in m."
    assert sorted(t["prompt"] for t in results["nested"]["tasks"])[0] == "How far is 1 and 1?"
    assert answers(results["nested"]) == ["2", "4", "6"]


def test_where_keeps_the_rows_that_it_names(results: dict[str, dict[str, Any]]) -> None:
    assert answers(results["where"]) == ["202", "208"]


def test_skipped_rows_are_counted(results: dict[str, dict[str, Any]]) -> None:
    assert answers(results["skipped"]) == ["1", "6"]
    assert results["skipped"]["report"]["bad_rows"] == 4
    assert results["main"]["report"]["bad_rows"] == 0


def test_a_private_data_set_is_read_with_its_token(results: dict[str, dict[str, Any]]) -> None:
    assert answers(results["own token"]) == ["2", "4", "6", "8"]


def test_no_network_is_one_line(tmp_path: Path) -> None:
    env = {
        **os.environ,
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path),
        "HF_TOKEN": "x",
        "HF_HUB_OFFLINE": "0",
    }
    (result,) = run([load("sums")], env, tmp_path)
    assert result["exit_code"] == 1
    assert result["error"].startswith("tasks.train[0]: own/sums: the Hub cannot be reached (Connect")
    assert "HF_ENDPOINT" in result["error"]


def test_offline_mode_is_one_line(tmp_path: Path) -> None:
    env = {
        **os.environ,
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path),
        "HF_TOKEN": "x",
        "HF_HUB_OFFLINE": "1",
    }
    (result,) = run([load("sums")], env, tmp_path)
    assert result["error"] == "tasks.train[0]: own/sums: HF_HUB_OFFLINE is set; unset it to read from the Hub"


def answer(status: int) -> Any:
    return SimpleNamespace(status_code=status, headers={}, text="", request=None)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        ("GatedRepoError", UsageError, "at: own/x is gated; accept its terms on its page"),
        ("RevisionNotFoundError", UsageError, "at.revision: own/x has no revision 'v1'"),
        ("RepositoryNotFoundError", UsageError, "at.source: no data set 'own/x'"),
        ("HfHubHTTPError", RL2FError, "at: own/x: refused with status 429; rate limit: wait"),
    ],
)
def test_what_a_hub_answers_is_one_line(error: str, kind: type[RL2FError], text: str) -> None:
    import huggingface_hub.errors

    raised = getattr(huggingface_hub.errors, error)("first line\nsecond line", response=answer(429))
    with pytest.raises(kind) as caught, reading_errors("at", "own/x", "v1"):
        raise raised
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), reading_errors("at", "own/x"):
        _ = 1 / 0


@pytest.mark.parametrize(
    "urls", [["hf://datasets/own/x@" + "b" * 40 + "/train.parquet"], ["/elsewhere/train.parquet"], []]
)
def test_files_of_another_commit_are_refused(urls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The library answers from its cache, at whatever commit that has, when the Hub fails halfway."""
    builder = SimpleNamespace(name="parquet", config=SimpleNamespace(data_files={"train": urls}))
    stub = SimpleNamespace(load_dataset_builder=lambda *a, **k: builder, get_dataset_config_names=list)
    monkeypatch.setitem(sys.modules, "datasets", stub)
    request = Request(SourceSpec(source="hub:own/x", count=1), "own/x", "at", 0, "train")
    with pytest.raises(UsageError, match=r"^at: own/x could not be read at a{40}; run again"):
        _builder(request, None, "a" * 40, [])


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ({}, r"at\.revision: codeparrot/apps has no file 'train\.jsonl' at a{40}; name another commit"),
        ({"split": "tst"}, r"at\.split: codeparrot/apps: no split 'tst'; did you mean 'test'\?"),
        ({"subset": "al"}, r"at\.subset: no subset 'al'; did you mean 'all'\?"),
    ],
)
def test_presets_that_are_read_by_file_say_what_is_missing(
    spec: dict[str, Any], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        sys.modules, "datasets", SimpleNamespace(load_dataset_builder=None, get_dataset_config_names=None)
    )
    source = SourceSpec(source=PRESETS["apps"].source, count=1, preset="apps", **spec)
    with pytest.raises(UsageError, match=f"^{line}$"):
        _builder(
            Request(source, "codeparrot/apps", "at", 0, "train"), PRESETS["apps"], "a" * 40, ["test.jsonl", "apps.py"]
        )
