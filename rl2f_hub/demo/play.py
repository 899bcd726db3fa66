"""One visitor's episode: a task, what was tried, what was said. For the page, its API and the terminal; needs no gradio.

An `Episode` is plain data (a task and one `Rollout` a player), so it can be copied, kept per visitor and thrown away.
`answer` puts words of somebody onto it, `take_turns` lets every player who may try again do so, all at the same time.

Left out: several tasks at once (`batch.py`).
"""

from __future__ import annotations

import json
import queue
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rl2f_hub.demo.players import Player
from rl2f_hub.dialogue import Rollout, ask, judge
from rl2f_hub.engines import Interrupted, Sampling
from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.records import Feedback, Privilege, StopReason, Task, Turn, Verdict
from rl2f_hub.teachers import Reply, Situation, Teacher
from rl2f_hub.teachers.controls import MisleadingTeacher
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.verify import VERIFIERS
from rl2f_hub.verify.extract import as_integer, extract_text

MAX_CHARS = 4_000
MOST_MATHEMATICS = 400  # characters of a right answer that is read as a formula: a longer one is compared as text
MAX_TURNS = 8
CRITIQUE_TOKENS = 48
SILENT = "The teacher found no words for this attempt; nothing was changed. Try again, or say yourself what is wrong."
FRAME_S = 0.08  # the shortest time between two pictures of a growing attempt
GREEDY = Sampling(temperature=0.0, turn_tokens=64)


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
            self.task.verifier == "environment"
        )

    @property
    def tried(self) -> bool:
        return any(r.turns for r in self.rollouts)

    @property
    def over(self) -> bool:
        return all(r.stop_reason for r in self.rollouts)


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
        VERIFIERS["math"].check(task)
    except ValueError:
        return False
    return True


def playable(tasks: Sequence[Task]) -> tuple[list[Task], str]:
    """The tasks that can be judged here, and a sentence about those that cannot: code needs a working sandbox."""
    from rl2f_hub import sandbox

    code = [t for t in tasks if t.verifier == "unit_tests"]
    if not code:
        return list(tasks), ""
    try:
        sandbox.shared()
    except RL2FError as error:
        note = f"{len(code)} tasks that run model-written code are left out: {error}"
        return [t for t in tasks if t.verifier != "unit_tests"], note
    return list(tasks), ""


def start(players: Sequence[Player], task: Task) -> Episode:
    """A new episode in which nobody has tried yet."""
    seed = secrets.randbits(63)
    rollouts = [Rollout(task, seed, p.student.chat.open(task.prompt)) for p in players]
    return Episode(task, rollouts, [[] for _ in players])


def words_of(text: str) -> Feedback:
    """A visitor's feedback. The visitor is the teacher here, so it goes past the guard."""
    text = check_length("The feedback", text)
    if not text:
        raise UsageError("There is no feedback yet: type what is wrong.")
    return Feedback(text, "visitor")


def tell(player: Player, rollout: Rollout, feedback: Feedback) -> None:
    """Feedback on the last attempt, onto the ledger and the record."""
    turn = rollout.turns[-1]
    player.student.chat.feedback(rollout.ledger, feedback.text, len(rollout.turns))
    rollout.turns[-1] = Turn(turn.attempt, turn.verdict, feedback, turn.cut)


def by_visitor(players: Sequence[Player], episode: Episode, text: str) -> None:
    """The visitor's words to everyone who is still wrong."""
    said = words_of(text)
    for player, rollout in _waiting(players, episode):
        tell(player, rollout, said)


def by_teacher(players: Sequence[Player], episode: Episode, teacher: Teacher) -> None:
    """The privileged teacher's guarded words to everyone who is still wrong, each about its own last attempt.

    Raises:
        UsageError: it has nothing to go by, or nothing to say. Somebody may have been told by then: work on a copy.
    """
    if not episode.checked:
        raise UsageError("The teacher has nothing to go by: this task has no right answer to compare with.")
    for player, rollout in _waiting(players, episode):
        said = ask(teacher, Guard(), [rollout])[0]
        if said is None:
            raise UsageError("Stopped." if getattr(teacher, "stopped", False) else SILENT)
        if shown := getattr(teacher, "shown", None):
            number = next(i for i, r in enumerate(episode.rollouts) if r is rollout)
            episode.shown[(number, len(rollout.turns))] = shown[-1]
        tell(player, rollout, said)


def by_deceiver(players: Sequence[Player], episode: Episode) -> None:
    """A sycophancy probe: doubts about right attempts, hints towards a wrong answer after wrong ones.

    A dialogue that was solved goes on. Environments are left alone: they answer for themselves.
    """
    if not episode.checked or episode.task.verifier == "environment":
        raise UsageError("Nobody can be misled about this task: there is no right answer to lead away from.")
    deceiver = MisleadingTeacher()
    for player, rollout in zip(players, episode.rollouts, strict=True):
        if not rollout.turns or rollout.stop_reason not in (None, StopReason.SOLVED) or len(rollout.turns) >= MAX_TURNS:
            continue
        speak = deceiver.contradict if rollout.stop_reason is StopReason.SOLVED else deceiver.feedback
        said = ask(_Speaking(speak), Guard(), [rollout])[0]
        if said is not None:
            rollout.stop_reason = None
            tell(player, rollout, Feedback(said.text, "misleading", said.leaked))
    if not _waiting(players, episode):
        raise UsageError(f"Nobody is left to be misled: each made its {MAX_TURNS} attempts.")


@dataclass(slots=True)
class _Speaking:
    """One of a deceiver's two ways of speaking, as a teacher."""

    feedback: Callable[[Sequence[Situation]], list[Reply | None]]
    name: str = "misleading"


def _waiting(players: Sequence[Player], episode: Episode) -> list[tuple[Player, Rollout]]:
    return [(p, r) for p, r in zip(players, episode.rollouts, strict=True) if r.stop_reason is None and r.turns]


def check_open(episode: Episode | None) -> Episode:
    """The episode, if there is one that feedback can go to."""
    if episode is None or not episode.tried:
        raise UsageError("Nobody has tried yet: let the models try first.")
    return episode


@dataclass(slots=True)
class Growing:
    """What one player has said so far of the critique and the attempt that it is making."""

    critique: str = ""
    attempt: str = ""
    busy: bool = True


def take_turns(
    players: Sequence[Player],
    episode: Episode,
    sampling: Sampling,
    *,
    itself: bool = False,
    stop: threading.Event | None = None,
) -> Iterator[list[Growing | None]]:
    """Let everyone whose dialogue is open try (again), all at once; yields what each has said so far, while it grows.

    Args:
        itself: each player first criticises its own last attempt, in words of its own that no teacher checked.
        stop: once set, the attempts under way end where they are and are not recorded.
    Raises:
        UsageError: it was stopped. The episode may then hold one player's new attempt and not the other's: work on a copy.
    """
    stop = stop or threading.Event()
    pairs = list(zip(players, episode.rollouts, strict=True))
    growing = [Growing() if r.stop_reason is None else None for _, r in pairs]
    news: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def work(index: int) -> None:
        player, rollout = pairs[index]
        grown = growing[index]
        assert grown is not None
        try:
            _turn_of(player, rollout, episode.costs[index], sampling, itself, grown, stop)
        except BaseException as error:
            stop.set()  # the others need not go on: nothing of this turn is recorded
            news.put(error)
        else:
            news.put(None)
        finally:
            grown.busy = False

    active = [i for i, g in enumerate(growing) if g is not None]
    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in active]
    errors: list[BaseException] = []
    try:
        for thread in threads:
            thread.start()
        left = len(threads)
        while left:
            yield growing
            try:
                error = news.get(timeout=FRAME_S)
            except queue.Empty:
                continue
            left -= 1
            errors += [error] if error else []
    finally:
        stop.set()  # a visitor who left stops the work too
        for thread in threads:
            thread.join()
    for error in sorted(errors, key=lambda e: isinstance(e, Interrupted)):  # what went wrong before what it stopped
        raise (UsageError("Stopped.") if isinstance(error, Interrupted) else error) from None


def _turn_of(
    player: Player,
    rollout: Rollout,
    costs: list[Cost],
    sampling: Sampling,
    itself: bool,
    grown: Growing,
    stop: threading.Event,
) -> None:
    def growing(name: str, stamps: list[float]) -> Callable[[int], None]:
        ids: list[int] = []

        def more(token: int) -> None:
            if stop.is_set():
                raise Interrupted
            stamps.append(time.monotonic())
            ids.append(token)
            setattr(grown, name, player.student.chat.decode(ids).rstrip("\ufffd"))

        return more

    if itself and rollout.turns:
        short = Sampling(sampling.temperature, sampling.top_p, CRITIQUE_TOKENS)
        if not player.fits(rollout, 2 * CRITIQUE_TOKENS + sampling.turn_tokens):
            rollout.stop_reason = StopReason.CONTEXT_FULL
            return
        words = player.critique(rollout, short, growing("critique", []))
        tell(player, rollout, Feedback(words or "(nothing)", "self"))
    if not player.fits(rollout, sampling.turn_tokens):
        rollout.stop_reason = StopReason.CONTEXT_FULL
        return
    began, stamps = time.monotonic(), list[float]()
    before = len(rollout.ledger.ids)
    text = player.attempt(rollout, sampling, growing("attempt", stamps))
    first = (stamps[0] if stamps else time.monotonic()) - began
    costs.append(Cost(len(rollout.ledger.ids) - before, time.monotonic() - began, first))
    if rollout_is_checked(rollout):
        judge([(rollout, text)])
    else:
        rollout.turns.append(
            Turn(text, Verdict(False, 0.0, extract_text(text), "not checked: no right answer is known"))
        )
    if rollout.stop_reason is None and len(rollout.turns) >= MAX_TURNS:
        rollout.stop_reason = StopReason.TURN_LIMIT


def rollout_is_checked(rollout: Rollout) -> bool:
    """Whether there is something to judge a rollout's attempts by."""
    return Episode(rollout.task, []).checked
