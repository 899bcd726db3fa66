"""What happens in dialogues under way, in order: the events that `DialogueRunner` yields.

`dialogue` is the index of the rollout among those of the runner, `turn` the 1-based number of its attempt.
"""

from __future__ import annotations

from dataclasses import dataclass

from rl2f_hub.engines import TokenDrawn
from rl2f_hub.records import Feedback, StopReason, Verdict

__all__ = ["AttemptJudged", "AttemptMade", "DialogueEnded", "Event", "FeedbackGiven", "TokenDrawn", "TurnStarted"]


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The dialogues of a batch are about to make their next attempts."""

    dialogues: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AttemptMade:
    """The student finished the attempt `text` of a `dialogue` at a `turn`."""

    dialogue: int
    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class AttemptJudged:
    """A verifier judged an attempt of a `dialogue` by a `verdict`; it is the rollout's last turn."""

    dialogue: int
    turn: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class FeedbackGiven:
    """The `feedback` on the attempt of a `dialogue` at a `turn` stands in the ledger and in the record."""

    dialogue: int
    turn: int
    feedback: Feedback


@dataclass(frozen=True, slots=True)
class DialogueEnded:
    """The dialogue is over, for the `reason` given."""

    dialogue: int
    reason: StopReason


Event = TurnStarted | TokenDrawn | AttemptMade | AttemptJudged | FeedbackGiven | DialogueEnded
