"""The Gradio page: pick a task, let every player attempt it, correct them in words, look behind the curtain.

Task, feedback and model text are untrusted: they reach the page only through `plain`, which leaves no character that
HTML, Markdown or LaTeX could act on. What a visitor did lives in a `gr.State` as plain data; the page's own updates are
drawn from it, so a failed call changes nothing.
"""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from rl2f_hub.demo import play
from rl2f_hub.demo.play import EXAMPLES, Episode, Player
from rl2f_hub.dialogue import Rollout
from rl2f_hub.engines import Sampling
from rl2f_hub.errors import UsageError
from rl2f_hub.records import Feedback, StopReason, Task
from rl2f_hub.teachers import Teacher
from rl2f_hub.teachers.scripted import ScriptedTeacher

log = logging.getLogger(__name__)

MAX_CHOICES = 60  # tasks in the drop-down; "Random task" draws from all
WELCOME = "Pick a task or type your own, then press Attempt."
COMPARE = (
    "Give the same task and the same corrections to a model before and after it learnt to use feedback, and see "
    "which one listens."
)
ALONE = "Give a model a task, tell it in words what is wrong, and see whether it listens."
HINT = (
    "The teacher reads the reference and answers each student's own last attempt. "
    "The students never see the reference, only the teacher's words."
)
NO_REFERENCE = "Without a reference nothing can be checked, and the teacher has nothing to go by: you are the judge."


def plain(text: str) -> str:
    """Untrusted text as HTML and Markdown that shows exactly that text."""
    out = []
    for c in play.printable(text):
        out.append("<br>" if c == "\n" else c if c.isalnum() or c == " " else f"&#{ord(c)};")
    return "".join(out)


def chat_of(episode: Episode, rollout: Rollout) -> list[dict[str, str]]:
    """A player's dialogue as chat messages, with a mark on each attempt."""
    messages = [{"role": "user", "content": f'<div class="rl2f-text">{plain(rollout.task.prompt)}</div>'}]
    for i, turn in enumerate(rollout.turns):
        mark = play.mark(episode, rollout, i)
        body = plain(turn.attempt) if turn.attempt.strip() else "<em>(nothing)</em>"
        badge = f'<span class="rl2f-mark rl2f-{mark.kind}">{mark.sign} {plain(mark.words)}</span>'
        if mark.repeat:
            badge += ' <span class="rl2f-mark rl2f-repeat">↻ repeat</span>'
        messages.append({"role": "assistant", "content": f'<div class="rl2f-text">{body}</div>{badge}'})
        if turn.feedback:
            who = "You" if turn.feedback.kind == "visitor" else "Teacher"
            text = f'<div class="rl2f-text"><span class="rl2f-from">{who}</span>{plain(turn.feedback.text)}</div>'
            messages.append({"role": "user", "content": text})
    return messages


def head_of(player: Player, rollout: Rollout | None, busy: bool = False) -> str:
    """The line above a player's chat."""
    where = "thinking…" if busy else play.standing(rollout) if rollout else "not asked yet"
    solved = " rl2f-solved" if rollout and rollout.stop_reason is StopReason.SOLVED else ""
    return (
        f'<div class="rl2f-player"><h2>{plain(player.label)}</h2><span class="rl2f-about">{plain(player.about)}</span>'
        f'<span class="rl2f-standing{solved}" role="status">{where}</span></div>'
    )


def notice_of(text: str) -> str:
    return f'<div class="rl2f-notice" role="status">{plain(text)}</div>'


def outcome(players: Sequence[Player], episode: Episode) -> str:
    """What the visitor can do next."""
    done = [(p, r) for p, r in _pairs(players, episode) if r.stop_reason is StopReason.SOLVED]
    tail = f" Solved: {', '.join(f'{p.label} at attempt {len(r.turns)}' for p, r in done)}." if done else ""
    if all(r.stop_reason for r in episode.rollouts):
        return f"This task is over.{tail} Press Attempt for a new start, or pick another task."
    if not episode.checked:
        return NO_REFERENCE
    return f"Say what is wrong, or let the teacher answer.{tail}"


def _pairs(players: Sequence[Player], episode: Episode) -> list[tuple[Player, Rollout]]:
    return list(zip(players, episode.rollouts, strict=True))


class Page:
    """The components of one page and the functions behind its buttons."""

    def __init__(self, players: list[Player], tasks: Sequence[Task], teacher: Teacher, model_name: str) -> None:
        self.players, self.tasks, self.teacher = players, list(tasks) or list(EXAMPLES), teacher
        self.known = {(t.prompt, t.privilege.reference): t for t in self.tasks}
        self.blocks = gr.Blocks(title="Correct a model in words", analytics_enabled=False, fill_width=False)
        with self.blocks:
            self._lay_out(model_name)
            self._connect()

    def _lay_out(self, model_name: str) -> None:
        first = self.tasks[0]
        names = [f"{t.domain}: {' '.join(t.prompt.split())[:90]}" for t in self.tasks[:MAX_CHOICES]]
        choices = [(name, i) for i, name in enumerate(names)]
        model = f" Model: <code>{plain(model_name)}</code>" if model_name else ""
        gr.HTML(
            '<header class="rl2f-head"><h1>Correct a model in words</h1>'
            f"<p>{COMPARE if len(self.players) > 1 else ALONE}{model}</p></header>",
            padding=False,
        )
        self.state = gr.State(None, time_to_live=3600)
        with gr.Row(elem_classes="rl2f-pick"):
            self.choice = gr.Dropdown(choices, value=0, label="Task", scale=5, min_width=220, elem_id="choice")
            self.lot = gr.Button("Random task", scale=1, min_width=120, elem_id="random")
        with gr.Row(equal_height=True):
            self.prompt = gr.Textbox(
                first.prompt, label="The question (edit it, or type your own)", lines=2, max_lines=8,
                scale=2, min_width=240, elem_id="prompt",
            )  # fmt: skip
            self.reference = gr.Textbox(
                first.privilege.reference, label="Right answer (students cannot see it)", placeholder="optional",
                lines=2, max_lines=8, scale=1, min_width=260, elem_id="reference",
            )  # fmt: skip
        self.go = gr.Button("Attempt", variant="primary", elem_id="attempt")
        self.heads, self.chats = [], []
        with gr.Row():
            for player in self.players:
                with gr.Column(min_width=300):
                    self.heads.append(gr.HTML(head_of(player, None), padding=False))
                    self.chats.append(self._chat(player))
        self.notice = gr.HTML(notice_of(WELCOME), padding=False, elem_id="notice")
        self.words = gr.Textbox(
            label="Your feedback, to everyone who is still wrong", lines=1, max_lines=6, interactive=False,
            placeholder="For example: the tens digit is too low", elem_id="feedback",
        )  # fmt: skip
        with gr.Row():
            self.send = gr.Button("Send feedback", variant="primary", interactive=False, min_width=150, elem_id="send")
            self.teach = gr.Button("Let the teacher answer", interactive=False, min_width=190, elem_id="teacher")
            self.reset = gr.Button("Reset", min_width=90, elem_id="reset")
        gr.HTML(f'<div class="rl2f-hint">{HINT}</div>', padding=False)
        with gr.Accordion("Inspect", open=False), gr.Row():
            self.seen = gr.JSON(label="What the student saw", open=True, min_width=280, elem_classes="rl2f-json")
            self.secret = gr.JSON(label="What the teacher knew", open=True, min_width=280, elem_classes="rl2f-json")
        with gr.Accordion("Advanced", open=False), gr.Row():
            self.heat = gr.Slider(0, 1.5, 0, step=0.1, label="Temperature (0: greedy)", min_width=240)
            self.length = gr.Slider(8, 512, 64, step=8, label="Longest attempt, in tokens", min_width=240)

    @staticmethod
    def _chat(player: Player) -> Any:
        return gr.Chatbot(
            label=f"{player.label}: dialogue", show_label=False, height=340,
            elem_classes="rl2f-chat", elem_id=f"chat-{player.label.lower()}",
            buttons=[], feedback_options=None, latex_delimiters=[], sanitize_html=True, allow_tags=False,
            allow_file_downloads=False, group_consecutive_messages=False, placeholder="No attempt yet",
        )  # fmt: skip

    def _connect(self) -> None:
        drawn = [self.state, *self.heads, *self.chats, self.notice, self.words, self.send, self.teach]
        drawn += [self.seen, self.secret]
        knobs = [self.heat, self.length]
        heavy: dict[str, Any] = {"outputs": drawn, "concurrency_id": "students", "concurrency_limit": 1}
        heavy |= {"show_progress": "hidden"}  # the heads say who is thinking
        picked = [self.prompt, self.reference]
        self.choice.input(self.pick, self.choice, picked, api_name="pick_task", queue=False)
        self.lot.click(self.draw_lot, None, [self.choice, *picked], api_name="random_task", queue=False)
        self.go.click(self.attempt, [self.prompt, self.reference, *knobs], api_name="attempt", **heavy)
        told = [self.state, self.words, *knobs]
        self.send.click(self.feedback, told, api_name="feedback", **heavy)
        self.words.submit(self.feedback, told, api_visibility="private", **heavy)
        self.teach.click(self.ask_teacher, [self.state, *knobs], api_name="teacher", **heavy)
        self.reset.click(lambda: self.clear(), None, drawn, api_name="reset", queue=False)

    def pick(self, index: int | None) -> tuple[str, str]:
        """Fill in one of the listed tasks by its number; none empties the boxes."""
        if index is None:
            return "", ""
        task = self.tasks[index]
        return task.prompt, task.privilege.reference

    def draw_lot(self) -> tuple[Any, str, str]:
        """Fill in a random task."""
        index = random.randrange(len(self.tasks))
        return (index if index < MAX_CHOICES else None, *self.pick(index))

    def attempt(self, prompt: str, reference: str, heat: float, length: int) -> Iterator[Any]:
        """Start over with a task: every player makes its first attempt."""
        prompt, reference = prompt or "", reference or ""
        try:
            task = self.known.get((prompt.strip(), reference.strip())) or play.own_task(prompt, reference)
            episode = play.start(self.players, task)
        except UsageError as error:
            yield self._refuse(str(error))
            return
        yield from self._play(None, episode, heat, length)

    def feedback(self, episode: Episode | None, words: str, heat: float, length: int) -> Iterator[Any]:
        """Give the same feedback to everyone who is still wrong, and let them try again."""
        try:
            said = play.words_of(words or "")
            yield from self._answer(episode, lambda rollout: said, heat, length)
        except UsageError as error:
            yield self._refuse(str(error))

    def ask_teacher(self, episode: Episode | None, heat: float, length: int) -> Iterator[Any]:
        """Let the teacher answer each player's own last attempt, and let them try again."""
        if episode and not episode.checked:
            yield self._refuse(NO_REFERENCE)
            return
        try:
            yield from self._answer(episode, lambda rollout: play.ask_teacher(self.teacher, rollout), heat, length)
        except UsageError as error:
            yield self._refuse(str(error))

    def clear(self, why: str = WELCOME) -> list[Any]:
        """Forget the dialogue."""
        n = len(self.players)
        heads = [head_of(p, None) for p in self.players]
        still = gr.update(interactive=False)
        empty: list[list[dict[str, str]]] = [[] for _ in range(n)]
        words = gr.update(value="", interactive=False)
        return [None, *heads, *empty, notice_of(why), words, still, still, None, None]

    def _answer(self, episode: Episode | None, words_for: Any, heat: float, length: int) -> Iterator[Any]:
        if episode is None or not episode.rollouts[0].turns:
            raise UsageError("Nobody has tried yet: press Attempt first.")
        if all(r.stop_reason for r in episode.rollouts):
            raise UsageError("This task is over: press Attempt for a new start.")
        before, episode = episode, copy.deepcopy(episode)  # the visitor's state changes only when all went well
        for player, rollout in _pairs(self.players, episode):
            if rollout.stop_reason is None:
                said: Feedback | None = words_for(rollout)
                if said is not None:
                    play.tell(player, rollout, said)
        yield from self._play(before, episode, heat, length)

    def _play(self, before: Episode | None, episode: Episode, heat: float, length: int) -> Iterator[Any]:
        sampling = Sampling(temperature=max(0.0, float(heat)), turn_tokens=max(1, min(int(length), 512)))
        try:
            for player, rollout in _pairs(self.players, episode):
                if rollout.stop_reason is None:
                    yield self._draw(episode, busy=player)
                    play.attempt(player, rollout, sampling)
        except Exception:
            log.exception("an attempt failed")
            why = "The model failed on this attempt. Try again, or reset and pick another task."
            gr.Warning(why)
            yield self._draw(before, why=why) if before else self.clear(why)
            return
        yield self._draw(episode)

    def _draw(self, episode: Episode, busy: Player | None = None, why: str = "") -> list[Any]:
        """All drawn components; while somebody is busy the state stays as it was."""
        pairs = _pairs(self.players, episode)
        heads = [head_of(p, r, p is busy) for p, r in pairs]
        chats = [chat_of(episode, r) for _, r in pairs]
        open_ = busy is None and any(r.stop_reason is None for r in episode.rollouts)
        words = gr.update(interactive=open_) if busy or why else gr.update(value="", interactive=open_)
        notice = notice_of(f"{busy.label} is thinking…" if busy else why or outcome(self.players, episode))
        buttons = [gr.update(interactive=open_), gr.update(interactive=open_ and episode.checked)]
        seen = {p.label: {"tokens": len(r.ledger.ids), "messages": play.seen_by_student(r)} for p, r in pairs}
        secret = {p.label: play.known_to_teacher(episode, r) for p, r in pairs}
        return [gr.skip() if busy else episode, *heads, *chats, notice, words, *buttons, seen, secret]

    def _refuse(self, why: str) -> list[Any]:
        """Leave everything as it is and say why."""
        gr.Warning(why)
        n = 2 * len(self.players)
        return [gr.skip(), *[gr.skip()] * n, notice_of(why), *[gr.skip()] * 5]


def build(
    players: list[Player], tasks: Sequence[Task], model_name: str = "", teacher: Teacher | None = None
) -> gr.Blocks:
    """The page over loaded players; the scripted teacher answers unless another one is given."""
    page = Page(players, tasks, teacher or ScriptedTeacher(), model_name)
    page.blocks.queue(max_size=64, default_concurrency_limit=8)
    return page.blocks
