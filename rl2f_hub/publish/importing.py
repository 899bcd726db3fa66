"""Other people's multi-turn data as dialogues of our schema: columns are named, nothing is guessed.

A conversation is a list of messages with a role and a text. Texts before the first attempt become the question, what a
model says is an attempt, what a person says after it is feedback; neighbours of one role are joined. Whether an attempt
is right is known only where a column says so: `correct`, `score` and `solved_at` are null otherwise, and the warm-up
setting `rows: solved` then finds nothing. Rows without an attempt, or with roles that are not known, are left out and
counted. Left out too: tool calls, images, and guessing what is in a column.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl2f_hub.errors import UsageError
from rl2f_hub.hub.commit import Contents, Remote
from rl2f_hub.publish.build import public_source
from rl2f_hub.publish.replaced import INDEX, replaced
from rl2f_hub.publish.schema import DERIVED
from rl2f_hub.publish.shards import Limits, ShardWriter
from rl2f_hub.tasks.columns import column_of

USER = ("user", "human", "prompter", "teacher")
ASSISTANT = ("assistant", "gpt", "model", "bot", "student", "chatgpt")


@dataclass(frozen=True, slots=True)
class Mapping:
    """Names of columns; `role` and `content` are keys of a message.

    `correct` holds a truth value for every attempt, or one for the last. Without `id`, rows are numbered.
    """

    messages: str = "messages"
    role: str = "role"
    content: str = "content"
    id: str | None = None
    correct: str | None = None
    user: tuple[str, ...] = USER
    assistant: tuple[str, ...] = ASSISTANT


def dialogue_row(row: dict[str, Any], mapping: Mapping, default_id: str) -> dict[str, Any]:
    """A row of the config `dialogues`.

    Raises:
        ValueError: what is missing or not understood, in words.
    """
    said = _conversation(column_of(row, mapping.messages), mapping)
    if said and said[0][0] == "assistant":
        raise ValueError("the conversation begins with an attempt")
    if len(said) < 2:
        raise ValueError("there is no attempt")
    attempts, feedback = [text for _, text in said[1::2]], [text for _, text in said[2::2]]
    name = str(column_of(row, mapping.id)) if mapping.id else default_id
    right = _verdicts(column_of(row, mapping.correct), len(attempts)) if mapping.correct else [None] * len(attempts)
    solved = next((i + 1 for i, ok in enumerate(right) if ok), None if None in right else 0)
    turns = [
        {
            "attempt": attempt,
            "answer": None,
            "correct": ok,
            "score": None if ok is None else float(ok),
            "reason": "imported",
            "feedback": feedback[i] if i < len(feedback) else None,
            "feedback_kind": "imported" if i < len(feedback) else None,
            "leaked": None,  # nobody looked
            "cut": None,
            "feedback_prompt_tokens": None,
            "feedback_tokens": None,
            "feedback_cost": None,
        }
        for i, (attempt, ok) in enumerate(zip(attempts, right, strict=True))
    ]
    return {
        "dialogue_id": name,
        "task_id": name,
        "messages": [{"role": role, "content": text} for role, text in said],
        "turns": turns,
        "solved_at": solved,
        "stop_reason": "imported",
        "student": None,
        "teacher": None,
        "privilege": None,
        "teacher_tokens": None,
        "teacher_cost": None,
        "sampling": None,
    }


def write_import(
    rows: Iterable[tuple[int, Any]], mapping: Mapping, folder: Path, prefix: str, limit: int | None = None
) -> dict[str, Any]:
    """Writes the shards of `dialogues`, `sft` and `critiques`; returns {shards, rows, left_out: {reason: count}}.

    Raises:
        UsageError: no row could be used.
    """
    writers = {
        config: ShardWriter(folder, config, "train", limits=Limits()) for config in ("dialogues", "sft", "critiques")
    }
    left_out: Counter[str] = Counter()
    seen: set[str] = set()
    try:
        for number, row in rows:
            try:
                if isinstance(row, Exception):
                    raise row
                dialogue = dialogue_row(row, mapping, f"{prefix}-{number}")
                if dialogue["dialogue_id"] in seen:
                    raise ValueError("its id was there already")
            except (ValueError, TypeError) as error:
                left_out[" ".join(str(error).split())[:100]] += 1
                continue
            seen.add(dialogue["dialogue_id"])
            writers["dialogues"].add(dialogue)
            for config in ("sft", "critiques"):
                for derived in DERIVED[config](dialogue):
                    writers[config].add(derived)
            if len(seen) == limit:
                break
        shards = {f"{config}/train": writer.close() for config, writer in writers.items()}
    finally:
        for writer in writers.values():
            writer.abort()
    if not seen:
        why = "; ".join(f"{reason} ({count})" for reason, count in left_out.most_common(3)) or "it has no rows"
        raise UsageError(f"import: no row could be used: {why}; see --messages, --role, --content")
    return {
        "shards": {name: [s.to_json() for s in found] for name, found in shards.items() if found},
        "rows": {f"{config}/train": w.rows for config, w in writers.items() if w.rows},
        "left_out": _at_most(left_out, 20),
    }


def _at_most(reasons: Counter[str], count: int) -> dict[str, int]:
    """The commonest reasons, and all others as one: no row is left out of the sum."""
    common = dict(reasons.most_common(count))
    rest = reasons.total() - sum(common.values())
    return common | ({"other reasons": rest} if rest else {})


def import_contents(
    repo_id: str,
    made: dict[str, Any],
    folder: Path,
    *,
    source: str,
    mapping: Mapping,
    revision: str | None = None,
    license: str | None = None,
) -> Callable[[Remote], Contents]:
    """What the repository of an import holds: shards, index and card; they replace the data set that is there."""
    from rl2f_hub.hub.dataset_cards import imported_card

    paths = [shard["path"] for found in made["shards"].values() for shard in found]
    index = {"schema": 1, "columns": "", "shards": made["shards"], "parts": [], "imported": public_source(source)}
    files: dict[str, Path | bytes] = {path: folder / path for path in paths}
    files[INDEX] = (json.dumps(index, indent=1) + "\n").encode()
    about = {"mapping": mapping, "source": public_source(source), "revision": revision, "correct": mapping.correct}
    card = imported_card(repo_id, made, license=license, **about)
    return lambda remote: Contents(files, card, *replaced(remote, files))


def _conversation(value: Any, mapping: Mapping) -> list[tuple[str, str]]:
    """(role, text) in turn, the first of them the user's; neighbours of one role are joined by a blank line."""
    if isinstance(value, str):
        value = json.loads(value)
    if not isinstance(value, list):
        raise ValueError(f"{mapping.messages} is no list of messages")
    out: list[tuple[str, str]] = []
    for message in value:
        if not isinstance(message, dict) or mapping.role not in message or mapping.content not in message:
            raise ValueError(f"a message has no {mapping.role!r} or no {mapping.content!r}")
        role, text = str(message[mapping.role]).casefold(), message[mapping.content]
        if not isinstance(text, str):
            raise ValueError(f"the {mapping.content!r} of a message is no text")
        text.encode()  # halves of surrogate pairs cannot be written: an error, as all of these
        if role in mapping.assistant:
            role = "assistant"
        elif role in mapping.user or (role == "system" and not out):
            role = "user"
        else:
            raise ValueError(f"role {role[:30]!r} is not known")
        if out and out[-1][0] == role:
            out[-1] = (role, f"{out[-1][1]}\n\n{text}")
        else:
            out.append((role, text))
    return out


def _verdicts(value: Any, attempts: int) -> list[bool | None]:
    """One verdict an attempt; a single one is about the last attempt."""
    if isinstance(value, list):
        if len(value) != attempts:
            raise ValueError(f"{len(value)} verdicts for {attempts} attempts")
        return [None if v is None else bool(v) for v in value]
    return [*[None] * (attempts - 1), None if value is None else bool(value)]


def source_rows(
    source: str, subset: str | None, split: str | None, revision: str | None
) -> tuple[Iterator[tuple[int, Any]], dict[str, Any]]:
    """(rows with numbers, report) of `hub:<owner/name>`, `jsonl:<path>`, `csv:<path>`, `tsv:<path>` or `parquet:<path>`.

    Raises:
        UsageError: another kind of source, or one that cannot be read.
    """
    from rl2f_hub.recipe.task_sections import SourceSpec
    from rl2f_hub.tasks import Request
    from rl2f_hub.tasks.hub import hub_rows
    from rl2f_hub.tasks.local import file_rows

    kind, _, name = source.partition(":")
    if kind not in ("hub", "jsonl", "csv", "tsv", "parquet") or not name:
        raise UsageError(
            f"source: {source!r} is none of hub:<owner/name>, jsonl:<path>, csv:<path>, tsv:<path>, parquet:<path>"
        )
    spec = SourceSpec(source=source, count=1, subset=subset, split=split, revision=revision, streaming=True)
    request = Request(spec, name, "import", 0, "train")
    return (hub_rows(request) if kind == "hub" else file_rows(request)), request.report
