"""One visitor's episode: a task, what was tried, what was said. For the page, its API and the terminal; needs no gradio.

An `Episode` is plain data (a task and one `Rollout` a player), so it can be copied, kept per visitor and thrown away.
Left out: what happens in it (`play.py`), and several tasks at once (`batch.py`).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rl2f_hub.demo.players import Player
from rl2f_hub.dialogue.runner import Rollout
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.records import Privilege, Task
from rl2f_hub.verify import named, verifier_of
from rl2f_hub.verify.limited import TooSlow
from rl2f_hub.verify.quantity import as_integer

MAX_CHARS = 4_000
MOST_MATHEMATICS = 400  # characters of a right answer that is read as a formula: a longer one is compared as text
MAX_TURNS = 8


def _examples() -> tuple[Task, ...]:
    """Whole-number tasks from families that the tiny student knows, none of which it was trained on."""
    rows = [
        json.loads(line) for line in (Path(__file__).parent / "tasks.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return tuple(
        Task(f"example-{i}", "builtin", row["kind"], row["prompt"], Privilege("answer", str(row["answer"])), "integer")
        for i, row in enumerate(rows, 1)
    )


EXAMPLES = _examples()


@dataclass(frozen=True, slots=True)
class Cost:
    """What an attempt took: tokens, seconds, and seconds until its first token; a critique of its own is not in it."""

    tokens: int
    seconds: float
    first_s: float


@dataclass(slots=True)
class Episode:
    """A task and one rollout a player, in the order of the players; `costs` has one entry an attempt.

    `shown` has what a teacher that is a model was shown, by (player, attempt).
    """

    task: Task
    rollouts: list[Rollout]
    costs: list[list[Cost]] = field(default_factory=list)
    shown: dict[tuple[int, int], str] = field(default_factory=dict)

    @property
    def checked(self) -> bool:
        """Whether attempts can be judged."""
        return bool(self.task.privilege.reference.strip() or self.task.privilege.tests) or (
            verifier_of(self.task).answers_itself
        )

    @property
    def tried(self) -> bool:
        return any(r.turns for r in self.rollouts)

    @property
    def over(self) -> bool:
        return all(r.stop_reason for r in self.rollouts)


class TooHard(UsageError):
    """A right answer whose reading took all the time that the judge has, which all visitors share."""


def check_length(what: str, text: str) -> str:
    """The text stripped, or a friendly refusal of one that is too long."""
    if len(text) > MAX_CHARS:
        raise UsageError(f"{what} has {len(text):,} characters; up to {MAX_CHARS:,} fit. Please shorten it.")
    return text.encode("utf-8", "replace").decode().strip()  # lone surrogates would fail later, in the tokenizer


def own_task(prompt: str, reference: str = "") -> Task:
    """A visitor's task.

    Whole numbers are compared as numbers, other references with a digit (2.5, 3/4, x^2+1) by their mathematical value
    where that can be read, everything else as text; without a reference there are no verdicts.
    """
    prompt, reference = check_length("The task", prompt), check_length("The right answer", reference)
    if not prompt:
        raise UsageError("There is no task yet: pick one or type your own.")
    task = Task("own", "visitor", "own", prompt, Privilege("answer", reference), "text")
    if as_integer(reference) is not None:
        return replace(task, verifier="integer")
    expression = replace(task, verifier="math")
    return expression if _reads_as_mathematics(expression) else task


def _reads_as_mathematics(task: Task) -> bool:
    """Whether the reference is a number or an expression that math-verify reads, and no sentence."""
    reference = task.privilege.reference
    if (
        len(reference) > MOST_MATHEMATICS
        or not re.search(r"\d", reference)
        or re.search(r"(?<!\\)\b[^\W\d_]{3,}", reference)
    ):
        return False
    try:
        named("math").check(task)
    except TooSlow:
        raise TooHard("The right answer is too hard to read as mathematics: write a simpler one.") from None
    except ValueError:
        return False
    return True


def playable(tasks: Sequence[Task]) -> tuple[list[Task], str]:
    """The tasks that can be judged here, and a sentence about those that cannot: code needs a working sandbox."""
    from rl2f_hub import sandbox

    code = [t for t in tasks if verifier_of(t).is_remote]
    if not code:
        return list(tasks), ""
    try:
        sandbox.shared()
    except RL2FError as error:
        note = f"{len(code)} tasks that run model-written code are left out: {error}"
        return [t for t in tasks if not verifier_of(t).is_remote], note
    return list(tasks), ""


def new_episode(players: Sequence[Player], task: Task) -> Episode:
    """A new episode in which nobody has tried yet."""
    seed = secrets.randbits(63)
    rollouts = [Rollout(task, seed, p.student.chat.open(task.prompt)) for p in players]
    return Episode(task, rollouts, [[] for _ in players])


def check_open(episode: Episode | None) -> Episode:
    """The episode, if there is one that feedback can go to."""
    if episode is None or not episode.tried:
        raise UsageError("Nobody has tried yet: let the models try first.")
    return episode


def rollout_is_checked(rollout: Rollout) -> bool:
    """Whether there is something to judge a rollout's attempts by."""
    return Episode(rollout.task, []).checked
