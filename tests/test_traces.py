"""Dialogues as session traces: what the Hub's own reader of traces makes of them."""

from __future__ import annotations

import json
from pathlib import Path

from datasets.packaged_modules.json.json import parse_traces_info
from recorded_run import dialogue

from rl2f_hub.publish.traces import trace_lines, trace_name, write_traces
from rl2f_hub.records import Dialogue, Feedback, StopReason, Turn, Verdict


def test_the_hubs_reader_sees_the_session_and_its_messages(tmp_path: Path) -> None:
    rows = [dialogue(n, "Too low.\nTry more. \u2028", wrong=2).to_row() for n in range(3)]
    files = write_traces(iter(rows), tmp_path / "traces", 2)
    assert len(files) == len(list((tmp_path / "traces").iterdir())) == 2
    for row, file in zip(rows, files, strict=False):
        lines = file.read_text().split("\n")[:-1]
        _, session, prompt, _, user_messages, tool_calls = parse_traces_info(lines)
        assert (session, prompt) == (row["dialogue_id"], row["messages"][0]["content"])
        assert (user_messages, tool_calls) == (3, 0)
        said = [json.loads(line)["message"] for line in lines[1:]]
        assert [{"role": m["role"], "content": m["content"]} for m in said] == row["messages"]


def test_thinking_is_apart_and_verdicts_stand_in_the_header() -> None:
    turn = Turn("<think>2+2\nis 4</think>\n4", Verdict(False, 0.0, "4", "other"), Feedback("No.", "value", ("digits",)))
    row = Dialogue("d/0", "d", "ask", (turn,), StopReason.TURN_LIMIT, "s", "t", "answer").to_row()
    head, _, attempt, _ = trace_lines(row)
    assert attempt["message"]["reasoningContent"] == "2+2\nis 4"
    assert attempt["message"]["content"] == "4"
    assert head["turns"] == [
        {"answer": "4", "correct": False, "score": 0.0, "reason": "other", "feedback_kind": "value", "leaked": True}
    ]


def test_names_are_file_names_and_differ() -> None:
    names = [trace_name(text) for text in ("a/0", "a-0", "../../etc/passwd", "x" * 500, "\u4e2d", "")]
    assert len(set(names)) == len(names)
    assert all("/" not in name and len(name) < 80 and not name.startswith(".") for name in names)
