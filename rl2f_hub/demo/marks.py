"""How an episode reads: marks of attempts, what changed between two, where a dialogue stands, who knew what, rows.

Plain values for the page, its API and the terminal; nothing here knows HTML.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from rl2f_hub.demo.episode import MAX_TURNS, Episode
from rl2f_hub.demo.players import Player
from rl2f_hub.dialogue.runner import Rollout
from rl2f_hub.engines import Sampling
from rl2f_hub.records import Feedback, StopReason

SPEAKERS = {"visitor": "You", "self": "Its own critique", "misleading": "Misleading"}
ENDINGS = {
    StopReason.SOLVED: "solved",
    StopReason.TURN_LIMIT: f"stopped after {MAX_TURNS} attempts",
    StopReason.TOKEN_LIMIT: "stopped: the attempt was cut at its token limit",
    StopReason.CONTEXT_FULL: "stopped: the next attempt would not fit into the model's context",
    StopReason.VERIFIER_ERROR: "stopped: the verifier failed",
    StopReason.TEACHER_ERROR: "stopped: the teacher has nothing to say",
    StopReason.STUDENT_ERROR: "stopped: the model's server gave no answer",
    StopReason.GAME_OVER: "the game is over",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """How an attempt is marked: `kind` is correct | wrong | unknown; `note` is repeat | gave in | held on, or empty."""

    kind: str
    words: str
    note: str = ""

    @property
    def sign(self) -> str:
        return {"correct": "✓", "wrong": "✗", "unknown": "?"}[self.kind]


def mark(episode: Episode, rollout: Rollout, index: int) -> Mark:
    """The mark of attempt `index`: what was read from it, and how it answers to what came before."""
    turn, before = rollout.turns[index], rollout.turns[index - 1] if index else None
    verdict = turn.verdict
    note = ""
    if verdict.answer is not None and not verdict.correct and verdict.answer in _wrong_before(rollout, index):
        note = "repeat"
    misled = before is not None and before.feedback is not None and before.feedback.kind == "misleading"
    if before is not None and misled and before.verdict.correct:
        note = "held on" if verdict.correct else "gave in"
    if not episode.checked:
        return Mark("unknown", "unknown: no right answer to compare with", note)
    if rollout.stop_reason is StopReason.VERIFIER_ERROR and index == len(rollout.turns) - 1:
        return Mark("unknown", "unknown: the verifier failed", note)
    answer = verdict.answer if verdict.answer is None or len(verdict.answer) <= 60 else verdict.answer[:60] + "…"
    kind = "correct" if verdict.correct else "wrong"
    return Mark(kind, f"{kind}: {verdict.reason if answer is None else answer}", note)


def _wrong_before(rollout: Rollout, index: int) -> list[str | None]:
    return [t.verdict.answer for t in rollout.turns[:index] if not t.verdict.correct]


MOST_COMPARED = 400_000  # pairs of pieces


def changed(old: str, new: str) -> list[tuple[str, bool]]:
    """`new` in pieces, each with whether it differs from `old`: by character in short texts, by word, or as a whole."""
    pieces = (lambda text: list(text)) if max(len(old), len(new)) <= 24 else (lambda text: re.findall(r"\w+|\W", text))
    a, b = pieces(old), pieces(new)
    if len(a) * len(b) > MOST_COMPARED:  # equal pieces in a row cost their square, and the page draws often
        return [(new, new != old)] if new else []
    out: list[tuple[str, bool]] = []
    for tag, _, _, start, end in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if start < end:
            out.append(("".join(b[start:end]), tag != "equal"))
    return out


def speaker(feedback: Feedback) -> str:
    """Who said it."""
    return SPEAKERS.get(feedback.kind, "Teacher")


def standing(rollout: Rollout) -> str:
    """Where a dialogue stands, in a few words."""
    count = f"attempt {len(rollout.turns)} of {MAX_TURNS}" if rollout.turns else "no attempt yet"
    if rollout.stop_reason is None:
        return f"{count}, waiting for feedback" if rollout.turns else count
    return f"{count}, {ENDINGS.get(rollout.stop_reason, rollout.stop_reason.value)}"


def solved_at(rollout: Rollout) -> int:
    """The 1-based attempt that was right first, 0 if there is none."""
    return next((i for i, t in enumerate(rollout.turns, 1) if t.verdict.correct), 0)


def solved_by(solved: Sequence[int], turns: int) -> list[float]:
    """The share of tasks solved by each of the first `turns` attempts."""
    return [sum(0 < s <= t for s in solved) / len(solved) if solved else 0.0 for t in range(1, turns + 1)]


def seen_by_student(rollout: Rollout) -> list[dict[str, str]]:
    """The conversation as the student saw it. Nothing of the privilege is in reach here."""
    out = [{"role": "user", "content": rollout.task.prompt}]
    for turn in rollout.turns:
        out.append({"role": "assistant", "content": turn.attempt})
        if turn.feedback:
            out.append({"role": "user", "content": turn.feedback.text})
    return out


def known_to_teacher(episode: Episode, rollout: Rollout) -> dict[str, Any]:
    """What the teacher could read besides: the privilege and the verdicts."""
    verdicts = []
    for i, turn in enumerate(rollout.turns):
        kind = mark(episode, rollout, i).kind
        verdicts.append({"attempt": i + 1, "mark": kind, "answer": turn.verdict.answer, "reason": turn.verdict.reason})
    privilege = episode.task.privilege
    held = {"reference": privilege.reference or None, "solution": privilege.solution, "tests": privilege.tests}
    player = next((i for i, r in enumerate(episode.rollouts) if r is rollout), -1)
    shown = {f"prompt on attempt {n}": text for (i, n), text in sorted(episode.shown.items()) if i == player}
    return (
        {name: value for name, value in held.items() if value or name == "reference"} | shown | {"verdicts": verdicts}
    )


def result_of(players: Sequence[Player], episode: Episode) -> dict[str, Any]:
    """An episode as JSON: what the API answers and what is exported."""
    out: dict[str, Any] = {"task": episode.task.prompt, "over": episode.over, "players": {}}
    for player, rollout, costs in zip(players, episode.rollouts, episode.costs, strict=True):
        turns = []
        for i, (turn, cost) in enumerate(zip(rollout.turns, costs, strict=True)):
            read = mark(episode, rollout, i)
            said = turn.feedback and {"from": speaker(turn.feedback), "text": turn.feedback.text}
            took = {"tokens": cost.tokens, "seconds": round(cost.seconds, 3), "first_token_s": round(cost.first_s, 3)}
            turns.append(
                {"attempt": turn.attempt, "mark": read.kind, "answer": turn.verdict.answer, "note": read.note}
                | {"feedback": said, **took}
            )
        out["players"][player.label] = {
            "standing": standing(rollout),
            "solved_at": solved_at(rollout),
            "turns": turns,
            "saw": seen_by_student(rollout),
            "context_tokens": len(rollout.ledger.ids),
            "teacher_knew": known_to_teacher(episode, rollout),
        }
    return out


def rows_of(players: Sequence[Player], episode: Episode, model_name: str, sampling: Sampling) -> list[dict[str, Any]]:
    """The episode's dialogues as rows of the `dialogues` config, one a player; open ones end as `cancelled`."""
    rows = []
    for player, rollout in zip(players, episode.rollouts, strict=True):
        if not rollout.turns:
            continue
        ended = copy(rollout)
        ended.stop_reason = rollout.stop_reason or StopReason.CANCELLED
        voices = {speaker(t.feedback).lower() for t in rollout.turns if t.feedback}
        names = {"you": "visitor", "its own critique": "self"}
        teacher = "+".join(sorted(names.get(v, v) for v in voices)) or "none"
        row = ended.dialogue(f"{model_name or 'student'} ({player.label})", teacher, sampling).to_row()
        rows.append(row | {"dialogue_id": f"{row['dialogue_id']}/{player.label}"})
    return rows


def as_lines(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Untrusted text without control characters: no terminal escapes, no NUL, no direction overrides."""
    return _CONTROLS.sub("\ufffd", text)
