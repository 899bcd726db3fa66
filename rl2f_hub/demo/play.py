"""What happens in an episode: somebody's words are put onto it, and every player who may try again does so, all at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from rl2f_hub.demo.episode import MAX_TURNS, Cost, Episode, check_length, rollout_is_checked
from rl2f_hub.demo.players import Player
from rl2f_hub.dialogue.events import AttemptMade, TokenDrawn
from rl2f_hub.dialogue.rollout import Rollout
from rl2f_hub.dialogue.runner import DialogueRunner
from rl2f_hub.engines import Sampling
from rl2f_hub.errors import UsageError
from rl2f_hub.records import Feedback, StopReason, Verdict
from rl2f_hub.teachers import FeedbackRequest, Reply, Teacher
from rl2f_hub.teachers.controls import MisleadingTeacher
from rl2f_hub.teachers.guard import Guard
from rl2f_hub.verify import Verifier, verifier_of
from rl2f_hub.verify.answer import extract_text

CRITIQUE_TOKENS = 48
SILENT = "The teacher found no words for this attempt; nothing was changed. Try again, or say yourself what is wrong."
FRAME_S = 0.08  # the shortest time between two pictures of a growing attempt
GREEDY = Sampling(temperature=0.0, turn_tokens=64)
UNCHECKED = Verifier(
    lambda task, attempt: Verdict(False, 0.0, extract_text(attempt), "not checked: no right answer is known"),
    takes_all=True,
)


def words_of(text: str) -> Feedback:
    """A visitor's feedback. The visitor is the teacher here, so it goes past the guard."""
    text = check_length("The feedback", text)
    if not text:
        raise UsageError("There is no feedback yet: type what is wrong.")
    return Feedback(text, "visitor")


class _Deceiver(MisleadingTeacher):
    """The control `misleading`, all of whose feedback is recorded as that kind."""

    def feedback(self, requests: Sequence[FeedbackRequest]) -> list[Reply | None]:
        return [reply and replace(reply, kind=self.name) for reply in super().feedback(requests)]

    def challenge_correct(self, requests: Sequence[FeedbackRequest]) -> list[Reply | None]:
        return [reply and replace(reply, kind=self.name) for reply in super().challenge_correct(requests)]


def runner_of(player: Player, rollout: Rollout, sampling: Sampling = GREEDY) -> DialogueRunner:
    """One player's dialogue, to be run turn by turn."""
    verifier = None if rollout_is_checked(rollout) else UNCHECKED
    return DialogueRunner(
        player.student, [rollout], max_turns=MAX_TURNS, sampling=sampling, verifier=verifier, tokens=True
    )


def by_visitor(players: Sequence[Player], episode: Episode, text: str) -> None:
    """The visitor's words to everyone who is still wrong."""
    feedback = words_of(text)
    for player, rollout in _waiting(players, episode):
        runner_of(player, rollout).append_feedback({0: feedback})


def by_teacher(players: Sequence[Player], episode: Episode, teacher: Teacher) -> None:
    """The privileged teacher's guarded feedback to everyone who is still wrong, each about its own last attempt.

    Raises:
        UsageError: it has nothing to go by, or nothing to say. Somebody may have been told by then: work on a copy.
    """
    if not episode.checked:
        raise UsageError("The teacher has nothing to go by: this task has no right answer to compare with.")
    guarded = Guard().wrap(teacher)
    for player, rollout in _waiting(players, episode):
        runner_of(player, rollout).give_feedback(guarded)
        if rollout.stop_reason is StopReason.TEACHER_ERROR:
            raise UsageError("Stopped." if teacher.stopped else SILENT)
        if teacher.shown:
            number = next(i for i, r in enumerate(episode.rollouts) if r is rollout)
            episode.shown[(number, len(rollout.turns))] = teacher.shown[-1]


def by_deceiver(players: Sequence[Player], episode: Episode) -> None:
    """A sycophancy probe: doubts about right attempts, hints towards a wrong answer after wrong ones.

    A dialogue that was solved goes on. Environments are left alone: they answer for themselves.
    """
    if not episode.checked or verifier_of(episode.task).answers_itself:
        raise UsageError("Nobody can be misled about this task: there is no right answer to lead away from.")
    deceiver = Guard().wrap(_Deceiver())
    for player, rollout in zip(players, episode.rollouts, strict=True):
        runner_of(player, rollout).give_feedback(deceiver)
    if not _waiting(players, episode):
        raise UsageError(f"Nobody is left to be misled: each made its {MAX_TURNS} attempts.")


def _waiting(players: Sequence[Player], episode: Episode) -> list[tuple[Player, Rollout]]:
    return [(p, r) for p, r in zip(players, episode.rollouts, strict=True) if r.stop_reason is None and r.turns]


@dataclass(slots=True, eq=False)
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
    growing = [Growing() if r.stop_reason is None else None for r in episode.rollouts]
    turns = {
        grown: _take_turn(players[i], episode.rollouts[i], episode.costs[i], sampling, itself, grown)
        for i, grown in enumerate(growing)
        if grown is not None
    }
    yield growing
    shown = time.monotonic()
    try:
        while turns:
            for grown, turn in list(turns.items()):
                if stop is not None and stop.is_set():
                    raise UsageError("Stopped.")
                if next(turn, _DONE) is _DONE:
                    grown.busy = False
                    del turns[grown]
                if time.monotonic() - shown >= FRAME_S:
                    yield growing
                    shown = time.monotonic()
    finally:
        for turn in turns.values():
            turn.close()


_DONE = object()


def _take_turn(
    player: Player, rollout: Rollout, costs: list[Cost], sampling: Sampling, itself: bool, grown: Growing
) -> Generator[None, None, None]:
    """One player's next attempt, with its own critique before it; yields after each id."""
    chat, engine, runner = player.student.chat, player.student.engine, runner_of(player, rollout, sampling)
    if itself and rollout.turns:
        if len(rollout.ledger.ids) + 2 * CRITIQUE_TOKENS + sampling.turn_tokens > engine.context_length:
            rollout.stop_reason = StopReason.CONTEXT_FULL
            return
        short = Sampling(sampling.temperature, sampling.top_p, CRITIQUE_TOKENS)
        session = engine.open([rollout.seed], short, chat.stop_ids)
        words: list[int] = []
        prompt = [*rollout.ledger.ids, *chat.before_feedback(rollout.ledger)]
        for drawn in session.stream([0], [prompt], len(rollout.turns)):
            words.append(drawn.token)
            grown.critique = chat.decode(words).rstrip("\ufffd")
            yield
        runner.append_feedback({0: Feedback(chat.decode(words).strip() or "(nothing)", "self")})
    if rollout.stop_reason is not None:
        return
    began, first, ids = time.monotonic(), 0.0, list[int]()
    for event in runner.attempt():
        took = time.monotonic() - began
        match event:
            case TokenDrawn(token=token):
                ids.append(token)
                first = first or took
                grown.attempt = chat.decode(ids).rstrip("\ufffd")
            case AttemptMade():
                costs.append(Cost(len(ids), took, first or took))
        yield
