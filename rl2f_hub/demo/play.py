"""What happens in an episode: somebody's words are put onto it, and every player who may try again does so, all at once."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rl2f_hub.demo.episode import MAX_TURNS, Cost, Episode, check_length, rollout_is_checked
from rl2f_hub.demo.players import Player
from rl2f_hub.dialogue.rollout import Rollout, get_feedback, judge, request_of
from rl2f_hub.engines import Interrupted, Sampling
from rl2f_hub.errors import UsageError
from rl2f_hub.records import Feedback, StopReason, Turn, Verdict
from rl2f_hub.teachers import Teacher
from rl2f_hub.teachers.controls import MisleadingTeacher
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.verify import verifier_of
from rl2f_hub.verify.answer import extract_text

CRITIQUE_TOKENS = 48
SILENT = "The teacher found no words for this attempt; nothing was changed. Try again, or say yourself what is wrong."
FRAME_S = 0.08  # the shortest time between two pictures of a growing attempt
GREEDY = Sampling(temperature=0.0, turn_tokens=64)


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
        said = get_feedback(Guard().wrap(teacher), [rollout])[0]
        if said is None:
            raise UsageError("Stopped." if teacher.stopped else SILENT)
        if teacher.shown:
            number = next(i for i, r in enumerate(episode.rollouts) if r is rollout)
            episode.shown[(number, len(rollout.turns))] = teacher.shown[-1]
        tell(player, rollout, said)


def by_deceiver(players: Sequence[Player], episode: Episode) -> None:
    """A sycophancy probe: doubts about right attempts, hints towards a wrong answer after wrong ones.

    A dialogue that was solved goes on. Environments are left alone: they answer for themselves.
    """
    if not episode.checked or verifier_of(episode.task).answers_itself:
        raise UsageError("Nobody can be misled about this task: there is no right answer to lead away from.")
    deceiver = Guard().wrap(MisleadingTeacher())
    for player, rollout in zip(players, episode.rollouts, strict=True):
        if not rollout.turns or rollout.stop_reason not in (None, StopReason.SOLVED) or len(rollout.turns) >= MAX_TURNS:
            continue
        solved = rollout.stop_reason is StopReason.SOLVED
        said = (deceiver.challenge_correct if solved else deceiver.feedback)([request_of(rollout)])[0]
        if said is not None:
            rollout.stop_reason = None
            tell(player, rollout, Feedback(said.text, "misleading", said.leaked))
    if not _waiting(players, episode):
        raise UsageError(f"Nobody is left to be misled: each made its {MAX_TURNS} attempts.")


def _waiting(players: Sequence[Player], episode: Episode) -> list[tuple[Player, Rollout]]:
    return [(p, r) for p, r in zip(players, episode.rollouts, strict=True) if r.stop_reason is None and r.turns]


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
