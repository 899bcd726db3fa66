"""Other people's conversations in our schema: by named columns, with nothing guessed and nothing lost in silence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hub_client import env_of

from rl2f_hub.errors import UsageError
from rl2f_hub.hub.commit import Remote
from rl2f_hub.localhub import LocalHub
from rl2f_hub.publish.importing import Mapping, dialogue_row, import_contents, write_import
from rl2f_hub.publish.schema import COLUMNS

SHARED = Mapping(messages="conversations", role="from", content="value", correct="ok")


def said(*texts: str, first: str = "human") -> list[dict[str, str]]:
    roles = ["human", "gpt"] if first == "human" else ["gpt", "human"]
    return [{"from": roles[i % 2], "value": text} for i, text in enumerate(texts)]


def test_a_conversation_becomes_question_attempts_and_feedback() -> None:
    row = {"conversations": said("ask", "5", "no", "6"), "ok": [False, True]}
    made = dialogue_row(row, SHARED, "x-0")
    assert list(made) == list(COLUMNS["dialogues"])
    assert [m["role"] for m in made["messages"]] == ["user", "assistant", "user", "assistant"]
    assert [(t["attempt"], t["correct"], t["feedback"]) for t in made["turns"]] == [
        ("5", False, "no"),
        ("6", True, None),
    ]
    assert made["solved_at"] == 2
    assert (made["stop_reason"], made["student"]) == ("imported", None)


@pytest.mark.parametrize(
    ("ok", "verdicts", "solved"),
    [
        (True, [None, True], 2),
        (False, [None, False], None),
        (None, [None, None], None),
        ([False, False], [False, False], 0),
        ([True, None], [True, None], 1),
    ],
)
def test_what_the_source_does_not_say_stays_unknown(ok: Any, verdicts: list[Any], solved: int | None) -> None:
    made = dialogue_row({"conversations": said("ask", "5", "no", "6"), "ok": ok}, SHARED, "x")
    assert [t["correct"] for t in made["turns"]] == verdicts
    assert made["solved_at"] == solved
    plain = dialogue_row(
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, Mapping(), "x"
    )
    assert plain["turns"][0]["correct"] is None


def test_neighbours_of_one_role_and_system_texts_are_joined() -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "ask"},
        {"role": "Assistant", "content": "5"},
        {"role": "assistant", "content": "6"},
        {"role": "user", "content": "no"},
    ]
    made = dialogue_row({"messages": json.dumps(messages)}, Mapping(), "x")
    assert [m["content"] for m in made["messages"]] == ["be brief\n\nask", "5\n\n6", "no"]
    assert made["turns"][0]["feedback"] == "no"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"conversations": said("5", "no", first="gpt"), "ok": True}, "begins with an attempt"),
        ({"conversations": said("ask"), "ok": True}, "there is no attempt"),
        ({"conversations": [], "ok": True}, "there is no attempt"),
        ({"conversations": "not json", "ok": True}, ""),
        ({"conversations": {"a": 1}, "ok": True}, "no list of messages"),
        ({"conversations": [{"from": "tool", "value": "x"}], "ok": True}, "role 'tool' is not known"),
        ({"conversations": [{"role": "user"}], "ok": True}, "has no 'from'"),
        ({"conversations": [{"from": "human", "value": None}], "ok": True}, "is no text"),
        ({"conversations": said("ask", "\ud800"), "ok": True}, "surrogates"),
        ({"conversations": said("ask", "5"), "ok": [True, True]}, "2 verdicts for 1 attempts"),
        ({"messages": []}, "no column 'conversations'"),
    ],
)
def test_rows_that_cannot_be_used_are_left_out_and_counted_by_reason(tmp_path: Path, row: Any, words: str) -> None:
    good = {"conversations": said("ask", "5", "no", "6"), "ok": True}
    made = write_import(enumerate([good, row, good]), SHARED, tmp_path, "x")
    assert made["rows"] == {"dialogues/train": 2, "sft/train": 4, "critiques/train": 2}
    ((reason, count),) = made["left_out"].items()
    assert words in reason
    assert count == 1
    with pytest.raises(UsageError, match="no row could be used"):
        write_import(enumerate([row]), SHARED, tmp_path / "none", "x")


def test_a_limit_and_ids_that_come_twice(tmp_path: Path) -> None:
    rows = [{"conversations": said("ask", str(n)), "ok": True, "key": n // 2} for n in range(10)]
    made = write_import(enumerate(rows), Mapping("conversations", "from", "value", "key"), tmp_path, "x", limit=3)
    ids = pq.read_table(tmp_path / "dialogues" / "train-00000.parquet")["dialogue_id"].to_pylist()
    assert ids == ["0", "1", "2"]
    assert made["left_out"] == {"its id was there already": 2}


def test_the_command_imports_from_a_file_and_what_it_made_loads(tmp_path: Path) -> None:
    rows = [{"conversations": said("ask", "5", "no", "6"), "n": n} for n in range(3)]
    lines = [json.dumps(row) for row in rows] + ["not json"]
    (tmp_path / "theirs.jsonl").write_text("\n".join(lines))
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "rl2f_hub", "import", f"jsonl:{tmp_path}/theirs.jsonl", "theirs", "--json"]
    command += ["--messages", "conversations", "--role", "from", "--content", "value", "--license", "mit"]
    planned, done = (
        subprocess.run(
            [*command, *more], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=900
        )
        for more in (["--dry-run"], [])
    )
    assert planned.returncode == 0, planned.stderr[-2000:]
    assert json.loads(planned.stdout)["creates"]
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["repo_id"] == "me/theirs"
    assert told["rows"]["sft/train"] == 6
    assert sum(told["left_out"].values()) == 1
    card = json.loads(planned.stdout)["card"]
    assert str(tmp_path) not in card
    assert "license: mit" in card
    code = "from datasets import load_dataset; print(load_dataset('me/theirs', 'sft', split='train')[1]['prompt'])"
    with LocalHub.start(tmp_path / "imported" / "hub") as hub:
        home = env_of(hub, tmp_path / "home")
        loaded = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=home, capture_output=True, text=True, check=True
        )
    assert "'no'" in loaded.stdout
    wrong = subprocess.run([*command[:5], "a--b"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)


def test_an_import_takes_the_place_of_what_is_there(tmp_path: Path) -> None:
    made = write_import(enumerate([{"conversations": said("ask", "5"), "ok": True}]), SHARED, tmp_path, "x")
    assert set(made["shards"]) == {"dialogues/train", "sft/train"}
    there = [
        "dialogues/train-00000.parquet",
        "critiques/train-00000.parquet",
        "data/train-00000-of-00001.parquet",
        "LICENSE",
    ]
    remote = Remote("me/x", "dataset", "a" * 40, files=dict.fromkeys(there, (1, "b")))
    contents = import_contents("me/x", made, tmp_path, source="jsonl:x", mapping=SHARED)(remote)
    assert set(contents.drop) == {"critiques/train-00000.parquet", "data/train-00000-of-00001.parquet"}


def test_more_reasons_than_are_listed_are_still_counted(tmp_path: Path) -> None:
    good = {"conversations": said("ask", "5"), "ok": True}
    odd = [{"conversations": [{"from": f"role {n}", "value": "x"}], "ok": True} for n in range(50)]
    made = write_import(enumerate([good, *odd]), SHARED, tmp_path, "x")
    assert len(made["left_out"]) == 21
    assert sum(made["left_out"].values()) == 50
