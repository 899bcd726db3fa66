"""What the published rows look like: fixed columns of every config, and the rows that follow from a dialogue.

`tasks` (problems with reference), `dialogues` (turn by turn), `sft` (TRL conversational prompt/completion, one row an
attempt), `critiques` (public history -> the teacher's words) and, where the recipe asks for it, `preferences` (TRL
prompt/chosen/rejected). Types never depend on the first row. Writing and pushing is not done here.
"""

from __future__ import annotations

from typing import Any

MESSAGE = {"role": "string", "content": "string"}
TURN = {
    "attempt": "string",
    "answer": "string",
    "correct": "bool",
    "score": "float64",
    "reason": "string",
    "feedback": "string",
    "feedback_kind": "string",
    "leaked": "bool",
    "cut": "bool",  # the attempt reached the token limit of a turn
    "feedback_prompt_tokens": "int32",  # this and the next two: null where no model was asked
    "feedback_tokens": "int32",
    "feedback_cost": "float64",
}
COLUMNS: dict[str, dict[str, Any]] = {
    "dialogues": {
        "dialogue_id": "string",
        "task_id": "string",
        "messages": [MESSAGE],
        "turns": [TURN],
        "solved_at": "int32",
        "stop_reason": "string",
        "student": "string",
        "teacher": "string",
        "privilege": "string",
        "teacher_tokens": "int64",
        "teacher_cost": "float64",
        "sampling": "string",
    },
    "tasks": dict.fromkeys(
        (
            *("task_id", "source", "domain", "prompt", "privilege", "reference", "solution", "tests"),
            *("verifier", "config"),
        ),
        "string",
    )
    | {"seed": "int64", "split": "string"},
    "sft": {
        "prompt": [MESSAGE],
        "completion": [MESSAGE],
        "dialogue_id": "string",
        "turn": "int32",
        "correct": "bool",
        "solved_at": "int32",
    },
    "critiques": {
        "prompt": [MESSAGE],
        "completion": [MESSAGE],
        "dialogue_id": "string",
        "turn": "int32",
        "kind": "string",
    },
    "preferences": {
        "prompt": [MESSAGE],
        "chosen": [MESSAGE],
        "rejected": [MESSAGE],
        "dialogue_id": "string",
        "turn": "int32",
    },
}
SPLITS = {"tasks": ("train", "eval", "ood")}  # every other config has `train` alone


def features(config: str) -> Any:
    """The fixed `datasets.Features` of a `config`, a key of `COLUMNS`."""
    from datasets import Features, List, Value

    def build(node: Any) -> Any:
        if isinstance(node, str):
            return Value(node)
        if isinstance(node, list):
            return List(build(node[0]))
        return {name: build(kind) for name, kind in node.items()}

    return Features(build(COLUMNS[config]))


def _history(dialogue: dict[str, Any], turn: int) -> list[dict[str, str]]:
    """The messages that attempt `turn` (from 0) was made from; after a turn without feedback, the question alone."""
    out = dialogue["messages"][:1]
    for past in dialogue["turns"][:turn]:
        said = [{"role": "assistant", "content": past["attempt"]}, {"role": "user", "content": past["feedback"]}]
        out = out[:1] if past["feedback"] is None else out + said
    return out


def sft_rows(dialogue: dict[str, Any]) -> list[dict[str, Any]]:
    """One row an attempt: the public history as prompt, the attempt as completion."""
    rows = []
    for i, turn in enumerate(dialogue["turns"]):
        rows.append(
            {
                "prompt": _history(dialogue, i),
                "completion": [{"role": "assistant", "content": turn["attempt"]}],
                "dialogue_id": dialogue["dialogue_id"],
                "turn": i + 1,
                "correct": turn["correct"],
                "solved_at": dialogue["solved_at"],
            }
        )
    return rows


def critique_rows(dialogue: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a piece of feedback: the history up to the attempt, then what the teacher said. No privilege."""
    rows = []
    for i, turn in enumerate(dialogue["turns"]):
        if turn["feedback"] is None:
            continue
        rows.append(
            {
                "prompt": [*_history(dialogue, i), {"role": "assistant", "content": turn["attempt"]}],
                "completion": [{"role": "user", "content": turn["feedback"]}],
                "dialogue_id": dialogue["dialogue_id"],
                "turn": i + 1,
                "kind": turn["feedback_kind"],
            }
        )
    return rows


def preference_rows(dialogue: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a wrong attempt of a solved dialogue: at that history, the attempt that solved it is to be preferred.

    The chosen attempt was made later, with more feedback; at the same history it is right where the other is wrong.
    """
    if not dialogue["solved_at"]:
        return []
    right = dialogue["turns"][dialogue["solved_at"] - 1]["attempt"]
    return [
        {
            "prompt": _history(dialogue, i),
            "chosen": [{"role": "assistant", "content": right}],
            "rejected": [{"role": "assistant", "content": turn["attempt"]}],
            "dialogue_id": dialogue["dialogue_id"],
            "turn": i + 1,
        }
        for i, turn in enumerate(dialogue["turns"])
        if turn["correct"] is False and turn["attempt"] != right
    ]


DERIVED = {"sft": sft_rows, "critiques": critique_rows, "preferences": preference_rows}
