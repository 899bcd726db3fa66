"""`rl2f chat`: the demo's episode in a terminal. Give a task, see base and RL2F attempt it, correct them in words.

Commands start with a slash; everything else is a task or, once somebody tried, feedback. Model text is shown without
control characters and without markup. Needs no gradio. Left out: history, editing of earlier turns, several tasks.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rl2f_hub.demo import play
from rl2f_hub.demo.play import EXAMPLES, Episode, Player
from rl2f_hub.errors import UsageError
from rl2f_hub.records import Feedback, StopReason, Task
from rl2f_hub.teachers.scripted import ScriptedTeacher

if TYPE_CHECKING:
    from rich.console import Console

HELP = """\
a text     a task of your own; later, feedback to everyone who is still wrong
/task      a random task
/teacher   let the scripted teacher answer each attempt (it knows the reference, the students do not)
/new       another task
/help      this text
/quit      leave (so do Ctrl-D and Ctrl-C)"""
STYLES = {"correct": "bold green", "wrong": "bold red", "unknown": "bold"}


class _Quit(Exception):
    """The user wants to leave."""


def chat(
    model_id: str,
    *,
    revision: str | None = None,
    tasks: Sequence[Task] = (),
    compare_base: bool = True,
    console: Console | None = None,
    ask: Callable[[str], str] = input,
) -> None:
    """Talk to an adapter beside its base, or to a full model, until the user leaves.

    Args:
        tasks: what /task draws from; a few built-in whole-number tasks by default.
        compare_base: False shows the adapter alone.
        ask: reads one line, given the prompt to show.
    """
    from rich.console import Console as Terminal

    from rl2f_hub.students.load import open_pair

    console = console or Terminal()
    players = play.players_of(*open_pair(model_id, revision))
    if not compare_base:
        players = players[-1:]
    talk = _Talk(players, list(tasks) or list(EXAMPLES), console, ask)
    try:
        talk.run()
    except (EOFError, KeyboardInterrupt, _Quit):
        console.print("\nBye.", style="dim")


class _Talk:
    """The state of one conversation and the commands on it."""

    def __init__(self, players: list[Player], tasks: list[Task], console: Any, ask: Callable[[str], str]) -> None:
        self.players, self.tasks, self.console, self.ask = players, tasks, console, ask
        self.episode: Episode | None = None
        self.commands: dict[str, Callable[[], None]] = {
            "/task": lambda: self.start(random.choice(self.tasks)),
            "/teacher": self.teacher,
            "/new": self.new,
            "/help": lambda: self.say(HELP),
            "/quit": self.quit,
        }

    def run(self) -> None:
        self.say("Type a task, or /task for a random one. /help lists what else there is.")
        while True:
            line = self.ask("feedback> " if self.episode else "task> ").strip()
            try:
                self.take(line)
            except UsageError as error:
                self.say(str(error), "yellow")

    def take(self, line: str) -> None:
        """One line of the user."""
        word = line.split(maxsplit=1)[0] if line else ""
        if word in self.commands:
            self.commands[word]()
        elif word.startswith("/") and word[1:].isalpha():
            self.say(f"{word} is no command. /help lists them.", "yellow")
        elif self.episode is not None:
            said = play.words_of(line)
            self.answer(lambda rollout: said)
        elif line:
            play.check_length("The task", line)
            self.start(play.own_task(line, self.ask("right answer (optional, hidden from the students)> ")))

    def start(self, task: Task) -> None:
        self.episode = play.start(self.players, task)
        self.say(f"Task: {task.prompt}", "bold")
        self.attempts()

    def new(self) -> None:
        self.episode = None
        self.say("Type a task, or /task for a random one.")

    def quit(self) -> None:
        raise _Quit

    def teacher(self) -> None:
        if self.episode is None:
            raise UsageError("There is no attempt yet to answer: give a task first.")
        if not self.episode.checked:
            raise UsageError("The teacher has nothing to go by: this task has no reference.")
        self.answer(lambda rollout: play.ask_teacher(ScriptedTeacher(), rollout))

    def answer(self, words_for: Callable[[Any], Feedback | None]) -> None:
        """Feedback to everyone who is still wrong, then their next attempts."""
        assert self.episode is not None
        for player, rollout in zip(self.players, self.episode.rollouts, strict=True):
            if rollout.stop_reason is None:
                said = words_for(rollout)
                if said is not None:
                    play.tell(player, rollout, said)
                    if said.kind != "visitor":
                        self.say(f"Teacher to {player.label}: {said.text}", "cyan")
        self.attempts()

    def attempts(self) -> None:
        """Let everyone who is still wrong try, and show where all stand; a task that is over is left."""
        assert self.episode is not None
        for player, rollout in zip(self.players, self.episode.rollouts, strict=True):
            if rollout.stop_reason is None:
                with self.console.status(f"{player.label} is thinking…"):
                    play.attempt(player, rollout, play.GREEDY)
        self.show()
        if all(r.stop_reason for r in self.episode.rollouts):
            self.episode = None
            self.say("This task is over. Type another one, or /task.")

    def show(self) -> None:
        """The last attempts side by side, with their marks."""
        from rich.table import Table
        from rich.text import Text

        assert self.episode is not None
        table = Table(expand=True)
        cells = []
        for player, rollout in zip(self.players, self.episode.rollouts, strict=True):
            table.add_column(Text(player.label), ratio=1, overflow="fold")
            cell = Text()
            if rollout.turns:
                mark = play.mark(self.episode, rollout, len(rollout.turns) - 1)
                cell.append(play.printable(rollout.turns[-1].attempt) or "(nothing)")
                cell.append(f"\n{mark.sign} {play.printable(mark.words)}", STYLES[mark.kind])
                if mark.repeat:
                    cell.append(" (a repeat)", "bold yellow")
            solved = rollout.stop_reason is StopReason.SOLVED
            cell.append(f"\n{play.standing(rollout)}", "green" if solved else "dim")
            cells.append(cell)
        table.add_row(*cells)
        self.console.print(table)

    def say(self, text: str, style: str = "") -> None:
        from rich.text import Text

        self.console.print(Text(play.printable(text), style=style))
