"""Dialogues as session traces: one JSON Lines file each, in the Session Trace Simple Format of the Hub's trace viewer.

A header line (`type: session`, harness, id, name), then a message a line. The teacher speaks as `user`, as it does to
the student; thinking in `<think>...</think>` goes to `reasoningContent`, which the viewer folds. What the verifier and
the guard said stands in the header, which may hold more than the format asks for. Privilege is not in it. The Hub's
page on the format names the harnesses that have an icon of their own; `rl2f` is not among them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rl2f_hub.runs import write_atomic

HARNESS = "rl2f"
NAME_CHARACTERS = 80
_THINKING = re.compile(r"\s*<think>(.*?)</think>\s*", re.S)


def trace_lines(dialogue: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects of one file, in order, from a row of the config `dialogues`."""
    yield {
        "type": "session",
        "harness": HARNESS,
        "id": dialogue["dialogue_id"],
        "name": " ".join(dialogue["messages"][0]["content"].split())[:NAME_CHARACTERS],
        "task_id": dialogue["task_id"],
        "teacher": dialogue["teacher"],
        "solved_at": dialogue["solved_at"],
        "stop_reason": dialogue["stop_reason"],
        "turns": [
            {key: turn[key] for key in ("answer", "correct", "score", "reason", "feedback_kind", "leaked")}
            for turn in dialogue["turns"]
        ],
    }
    for message in dialogue["messages"]:
        said: dict[str, Any] = {"role": message["role"], "content": message["content"]}
        if message["role"] == "assistant":
            thought = _THINKING.match(message["content"])
            if thought:
                said |= {"content": message["content"][thought.end() :], "reasoningContent": thought[1].strip()}
            said["model"] = dialogue["student"]
        yield {"type": "message", "message": said}


def trace_name(dialogue_id: str) -> str:
    """A file name that is the same for the same dialogue, and another for another."""
    plain = re.sub(r"[^A-Za-z0-9-]+", "-", dialogue_id).strip("-")[:60]
    return f"{plain}-{hashlib.sha256(dialogue_id.encode()).hexdigest()[:8]}.jsonl"


def write_traces(rows: Iterable[dict[str, Any]], folder: Path, limit: int) -> list[Path]:
    """The first `limit` dialogues as files in a folder."""
    files = []
    for row in islice(rows, limit):
        file = folder / trace_name(row["dialogue_id"])
        write_atomic(file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in trace_lines(row)))
        files.append(file)
    return files
