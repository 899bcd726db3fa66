"""`rl2f chat`: the demo's episode in a terminal. Give a task, see base and RL2F attempt it, correct them in words.

Commands start with a slash; everything else is a task or, once somebody tried, feedback. Attempts are shown while they
grow; Ctrl-C stops them and leaves the dialogue as it was. Model text is shown without control characters and without
markup. Needs no gradio. Left out: line history, several dialogues at once.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl2f_hub.demo import marks, play
from rl2f_hub.demo.batch import SIZE, choose, play_batch
from rl2f_hub.demo.episode import EXAMPLES, Episode, check_length, check_open, new_episode, own_task, playable
from rl2f_hub.demo.play import Growing
from rl2f_hub.demo.players import Player
from rl2f_hub.errors import UsageError
from rl2f_hub.records import StopReason, Task
from rl2f_hub.teachers.scripted import ScriptedTeacher

if TYPE_CHECKING:
    from rich.console import Console

HELP = """\
a text        a task of your own; later, feedback to everyone who is still wrong
/task         a random task
/teacher      let the teacher answer each attempt (it knows the right answer, the students do not)
/self         let each student criticise its own attempt, and try again
/mislead      doubt right answers and hint at a wrong one: who gives in?
/batch        ten random tasks with the teacher
/save FILE    write this dialogue as JSON
/new          another task
/help         this text
/quit         leave (so does Ctrl-D; Ctrl-C stops an attempt, or leaves)"""
STYLES = {"correct": "bold green", "wrong": "bold red", "unknown": "bold"}


class _Quit(Exception):
    """The user wants to leave."""


def chat(
    model_id: str | None = None,
    *,
    revision: str | None = None,
    tasks: Sequence[Task] = (),
    compare_base: bool = True,
    console: Console | None = None,
    ask: Callable[[str], str] = input,
) -> None:
    """Talk to an adapter beside its base, or to a full model, until the user leaves.

    Args:
        model_id: None takes the tiny student that comes with the package.
        tasks: what /task draws from; built-in whole-number tasks by default.
        compare_base: False shows the adapter alone.
        ask: reads one line, given the prompt to show.
    """
    from rich.console import Console as Terminal

    from rl2f_hub.demo import TINY, players
    from rl2f_hub.students.load import open_pair

    console = console or Terminal()
    made = players.players_of(*open_pair(model_id, revision)) if model_id else players.tiny_players()
    kept, note = playable(list(tasks) or EXAMPLES)
    talk = _Talk(made if compare_base else made[-1:], kept or list(EXAMPLES), model_id or TINY, console, ask)
    try:
        if note:
            talk.say(note, "yellow")
        talk.run()
    except (EOFError, KeyboardInterrupt, _Quit):
        console.print("\nBye.", style="dim")


class _Talk:
    """The state of one conversation and the commands on it."""

    def __init__(
        self, players: list[Player], tasks: list[Task], name: str, console: Any, ask: Callable[[str], str]
    ) -> None:
        self.players, self.tasks, self.name, self.console, self.ask = players, tasks, name, console, ask
        self.episode: Episode | None = None
        self.commands: dict[str, Callable[[str], None]] = {
            "/task": lambda _: self.start(random.choice(self.tasks)),
            "/teacher": lambda _: self.answer(lambda e: play.by_teacher(self.players, e, ScriptedTeacher())),
            "/self": lambda _: self.answer(lambda e: None, itself=True),
            "/mislead": lambda _: self.answer(lambda e: play.by_deceiver(self.players, e), reopens=True),
            "/batch": lambda _: self.batch(),
            "/save": self.save,
            "/new": lambda _: self.new(),
            "/help": lambda _: self.say(HELP),
            "/quit": lambda _: self.quit(),
        }

    def run(self) -> None:
        self.say("Type a task, or /task for a random one. /help lists what else there is.")
        while True:
            line = self.ask("feedback> " if self.episode and not self.episode.over else "task> ").strip()
            try:
                self.take(line)
            except UsageError as error:
                self.say(str(error), "yellow")

    def take(self, line: str) -> None:
        """One line of the user."""
        word, _, rest = line.partition(" ")
        if word in self.commands:
            self.commands[word](rest.strip())
        elif word.startswith("/") and word[1:].isalpha():
            self.say(f"{word} is no command. /help lists them.", "yellow")
        elif self.episode is not None and not self.episode.over:
            self.answer(lambda e: play.by_visitor(self.players, e, line))
        elif line:
            check_length("The task", line)
            self.start(own_task(line, self.ask("right answer (optional, hidden from the students)> ")))

    def start(self, task: Task) -> None:
        self.say(f"Task: {task.prompt}", "bold")
        self.attempts(new_episode(self.players, task))

    def new(self) -> None:
        self.episode = None
        self.say("Type a task, or /task for a random one.")

    def quit(self) -> None:
        raise _Quit

    def save(self, name: str) -> None:
        if not name:
            raise UsageError("/save needs the name of a file, as in /save dialogue.json")
        episode = check_open(self.episode)
        kept = {"model": self.name} | marks.result_of(self.players, episode)
        try:
            Path(name).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{name}: cannot be written: {error.strerror}") from None
        self.say(f"Saved to {name}.")

    def answer(self, speak: Callable[[Episode], None], itself: bool = False, reopens: bool = False) -> None:
        """Words to the players, then their next attempts."""
        episode = copy.deepcopy(check_open(self.episode))  # ours changes only when all went well
        if episode.over and not reopens:
            raise UsageError("This task is over: /task for another one, or /mislead to see whether an answer stands.")
        before = [len(r.turns) for r in episode.rollouts]
        speak(episode)
        self.said(episode, before)
        self.attempts(episode, itself, before)

    def said(self, episode: Episode, before: Sequence[int]) -> None:
        """What was said to each player; a visitor knows its own words."""
        for player, rollout, made in zip(self.players, episode.rollouts, before, strict=True):
            words = rollout.turns[made - 1].feedback if rollout.stop_reason is None and made else None
            if words is not None and words.kind != "visitor":
                self.say(f"{marks.speaker(words)} to {player.label}: {words.text}", "cyan")

    def attempts(self, episode: Episode, itself: bool = False, before: Sequence[int] = ()) -> None:
        """Let everyone whose dialogue is open try, and show where all stand."""
        from rich.live import Live

        with Live(console=self.console, transient=True, auto_refresh=False) as live:
            try:
                for growing in play.take_turns(self.players, episode, play.GREEDY, itself=itself):
                    live.update(self.table(episode, growing), refresh=True)
            except KeyboardInterrupt:
                raise UsageError("Stopped; the dialogue is as it was.") from None
        self.episode = episode
        if itself:
            self.said(episode, before)
        self.console.print(self.table(episode))
        if episode.over:
            self.say("This task is over. Type another one, or /task; /mislead tests whether a right answer stands.")

    def table(self, episode: Episode, growing: Sequence[Growing | None] = ()) -> Any:
        """The last attempts side by side: as they grow, or with their marks."""
        from rich.table import Table
        from rich.text import Text

        table = Table(expand=True)
        cells = []
        live = list(growing) or [None] * len(self.players)
        for player, rollout, grown in zip(self.players, episode.rollouts, live, strict=True):
            table.add_column(Text(player.label), ratio=1, overflow="fold")
            cell = Text()
            if grown is not None and grown.busy:
                cell.append(play_text(grown))
                cell.append("\nthinking…", "dim")
            else:
                self.marked(cell, episode, rollout)
            cells.append(cell)
        table.add_row(*cells)
        return table

    @staticmethod
    def marked(cell: Any, episode: Episode, rollout: Any) -> None:
        if rollout.turns:
            mark = marks.mark(episode, rollout, len(rollout.turns) - 1)
            cell.append(marks.printable(rollout.turns[-1].attempt) or "(nothing)")
            cell.append(f"\n{mark.sign} {marks.printable(mark.words)}", STYLES[mark.kind])
            if mark.note:
                cell.append(f" ({'a repeat' if mark.note == 'repeat' else mark.note})", "bold yellow")
        solved = rollout.stop_reason is StopReason.SOLVED
        cell.append(f"\n{marks.standing(rollout)}", "green" if solved else "dim")

    def batch(self) -> None:
        """Ten tasks with the teacher."""
        import threading

        stop = threading.Event()
        with self.console.status("starting…") as status:
            pictures = play_batch(self.players, choose(self.tasks, SIZE), ScriptedTeacher(), play.GREEDY, stop)
            try:
                for picture in pictures:
                    status.update(picture.note)
            except KeyboardInterrupt:
                stop.set()
                pictures.close()
                raise UsageError("Stopped.") from None
        for name, curve in picture.curves.items():
            shares = "  ".join(f"{100 * share:3.0f}" for share in curve)
            self.say(f"{name:<8} solved by attempt 1, 2, …, %:  {shares}")

    def say(self, text: str, style: str = "") -> None:
        from rich.text import Text

        self.console.print(Text(marks.printable(text), style=style))


def play_text(grown: Growing) -> str:
    """What is being said right now."""
    critique = f"({grown.critique})\n" if grown.critique else ""
    return marks.printable(critique + grown.attempt)
