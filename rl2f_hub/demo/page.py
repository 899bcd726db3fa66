"""The Gradio page: pick a task, let every player try it, correct them in words, look behind the curtain.

The layout is here, what a visitor can do in `acts.py`, how it is drawn in `draw.py`. A visitor's dialogue lives in a
`gr.State`; the browser keeps only the key to find it again after a reload. Functions behind buttons are private: the
public API is in `api.py`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any

import gradio as gr

from rl2f_hub.demo import draw, marks
from rl2f_hub.demo.acts import MAX_TOKENS, Acts, Frame, Who, sampling_of
from rl2f_hub.demo.contribute import Contributions
from rl2f_hub.demo.keep import KeepPanel
from rl2f_hub.demo.panels import BatchPanel, ResultsPanel
from rl2f_hub.demo.teaching import SAME, SCRIPTED
from rl2f_hub.demo.visits import Visit
from rl2f_hub.errors import UsageError

Where = tuple[str, str | None]  # repository or folder, and revision

AT_ONCE = 8  # visitors whose attempts are made at the same time; the others wait in the queue and are told where
KINDS_SHOWN = 8
WELCOME = "Pick a task or type your own, and let them try."


def who_is(request: gr.Request | None) -> Who:
    """The visitor behind a request. Behind the proxy of a Space the address is the one that the proxy added last."""
    if request is None:
        return Who()
    address = request.client.host if request.client else "unknown"
    if os.environ.get("SPACE_ID"):
        address = str(request.headers.get("x-forwarded-for", address)).split(",")[-1].strip()
    return Who(str(request.session_hash), _network(address))


def _network(address: str) -> str:
    """Whom an address is given to: of IPv6 a whole network, or everybody would have as many as they like."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address[:64]
    if ip.version == 6 and ip.ipv4_mapped is None:
        return str(ip_network((int(ip), 64), strict=False))
    return str(ip)


class Page:
    """The components of one page and the functions behind its buttons."""

    def __init__(
        self, acts: Acts, *, warning: str = "", contributions: Contributions | None = None, results: Where = ("", None)
    ) -> None:
        self.acts, self.contributions = acts, contributions
        self.players = acts.players
        self.kinds = acts.kinds()
        self.blocks = gr.Blocks(
            title="Correct a model in words", analytics_enabled=False, fill_width=False, delete_cache=(3600, 3600)
        )
        with self.blocks:
            self.kept = gr.BrowserState("", storage_key="rl2f-visit")
            self.visit = gr.State(None, time_to_live=3600)
            self._lay_out_top(warning)
            with gr.Tabs():
                with gr.Tab("Play", id="play"):
                    self._lay_out_play()
                with gr.Tab("Batch of ten", id="batch"):
                    self.batch = BatchPanel(acts, who_is)
                with gr.Tab("Results", id="results") as tab:
                    self.results = ResultsPanel(tab, *results, name=acts.model_name)
            self._connect()

    # -- layout --------------------------------------------------------------------------------------------------

    def _lay_out_top(self, warning: str) -> None:
        pair = len(self.players) > 1
        what = (
            "One model, before and after it learnt to use feedback. Both get the same task and the same corrections: "
            "see which one listens."
            if pair
            else "Give a model a task, tell it in words what is wrong, and see whether it listens."
        )
        model = f'<div class="rl2f-model">Model <code>{draw.plain(self.acts.model_name)}</code></div>'
        warned = f'<div class="rl2f-warning" role="alert">{draw.plain(warning)}</div>' if warning else ""
        gr.HTML(
            f'<header><div class="rl2f-top"><div><h1>Correct a model in words</h1><p>{what}</p></div>'
            f"{model if self.acts.model_name else ''}</div>{warned}</header>",
            padding=False,
        )

    def _lay_out_play(self) -> None:
        first = self.acts.tasks[0]
        names = list(self.kinds)
        with gr.Row(elem_classes="rl2f-kinds", elem_id="kinds"):
            self.pick = [gr.Button(name, size="sm") for name in names[:KINDS_SHOWN]]
            self.lot = gr.Button("Random", size="sm", elem_id="random")
            self.own = gr.Button("My own", size="sm", elem_id="own")
        with gr.Row(equal_height=True):
            self.prompt = gr.Textbox(
                first.prompt, label="Task", placeholder="What should they do?", lines=2, max_lines=8,
                scale=3, min_width=240, elem_id="prompt",
            )  # fmt: skip
            self.reference = gr.Textbox(
                first.privilege.reference, label="Right answer (hidden from them)", placeholder="optional",
                lines=2, max_lines=8, scale=1, min_width=290, elem_id="reference",
            )  # fmt: skip
        again = "Let both try" if len(self.players) == 2 else "Let it try"
        self.go = gr.Button(again, variant="primary", elem_id="attempt", elem_classes="rl2f-go")
        self.arena = gr.HTML(draw.arena(self.players, None), padding=False, elem_id="arena")
        with gr.Column(elem_id="composer"):
            self.notice = gr.HTML(draw.notice(WELCOME), padding=False, elem_id="notice")
            self.words = gr.Textbox(
                label="Your feedback, to everyone who is still wrong", lines=1, max_lines=6, interactive=False,
                placeholder="For example: the tens digit is too low", elem_id="feedback",
            )  # fmt: skip
            with gr.Row(elem_id="moves"):
                self.send = gr.Button(
                    "Send feedback", variant="primary", interactive=False, min_width=130, elem_id="send"
                )
                self.teach = gr.Button("Let the teacher answer", interactive=False, min_width=170, elem_id="teacher")
                self.itself = gr.Button("Correct yourself", interactive=False, min_width=130, elem_id="itself")
                self.deceive = gr.Button("Mislead it", interactive=False, min_width=110, elem_id="mislead")
                self.stop = gr.Button("Stop", interactive=False, min_width=80, elem_id="stop")
        gr.HTML(
            '<div class="rl2f-hint">The teacher knows the right answer and speaks to each model about its own attempt; '
            "the models see only its words. “Correct yourself” lets each model criticise itself, “Mislead it” "
            "tests whether a right answer survives a doubt.</div>",
            padding=False,
        )
        self.chart = gr.HTML("", padding=False, elem_id="chart")
        with gr.Accordion("Inspect: what the student saw, what the teacher knew", open=False, elem_id="inspect"):
            self.seen = gr.HTML(draw.inspect(self.players, None), padding=False)
        with gr.Accordion("Keep this dialogue", open=False, elem_id="keep"):
            KeepPanel(self.acts, self.visit, self.contributions, who_is)
        with gr.Accordion("Advanced", open=False, elem_id="advanced"), gr.Row():
            self.voice = gr.Radio(
                [("Scripted", SCRIPTED), ("The same model, told the right answer", SAME)],
                value=SCRIPTED, label="Teacher", min_width=240, elem_id="voice",
            )  # fmt: skip
            self.heat = gr.Slider(0, 1.5, 0, step=0.1, label="Temperature (0: greedy)", min_width=240)
            self.length = gr.Slider(8, MAX_TOKENS, 64, step=8, label="Longest attempt, in tokens", min_width=240)

    # -- wiring --------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        private: dict[str, Any] = {"api_visibility": "private"}
        heavy = private | {"concurrency_id": "students", "concurrency_limit": AT_ONCE}
        heavy |= {"show_progress": "minimal", "show_progress_on": [self.notice]}
        quick = private | {"queue": False, "show_progress": "hidden"}
        picked = [self.prompt, self.reference]
        for button, name in zip(self.pick, self.kinds, strict=False):
            button.click(partial(self.fill, self.kinds[name]), None, picked, **quick)
        self.lot.click(partial(self.fill, range(len(self.acts.tasks))), None, picked, **quick)
        focus = "() => { document.querySelector('#prompt textarea').focus(); return ['', '']; }"
        self.own.click(None, None, picked, js=focus, **private)
        knobs = [self.heat, self.length]
        drawn = [self.visit, self.kept, self.arena, self.notice, self.chart, self.words, self.seen]
        drawn += [self.send, self.teach, self.itself, self.deceive, self.go, self.stop]
        self.go.click(self.begin, [self.visit, *picked, *knobs], drawn, **heavy)
        told = [self.visit, self.words, *knobs, self.voice]
        self.words.submit(self.answering("visitor"), told, drawn, **heavy)
        for button, by in (
            (self.send, "visitor"),
            (self.teach, "teacher"),
            (self.itself, "self"),
            (self.deceive, "misleading"),
        ):
            button.click(self.answering(by), told, drawn, **heavy)
        self.stop.click(self.halt, None, None, **quick)
        self.blocks.load(self.restore, self.kept, [*drawn, *picked], **quick)

    # -- behind the buttons --------------------------------------------------------------------------------------

    def fill(self, indices: Any) -> tuple[str, str]:
        """One of those tasks, at random."""
        task = self.acts.tasks[random.choice(list(indices))]
        return task.prompt, task.privilege.reference

    def begin(
        self, visit: Visit | None, prompt: str, reference: str, heat: float, length: int, request: gr.Request
    ) -> Iterator[Any]:
        visit = visit or Visit()
        frames = self.acts.begin(visit, prompt, reference, sampling_of(heat, length), who_is(request))
        yield from self._drawn(visit, frames)

    def answering(self, by: str) -> Callable[..., Iterator[Any]]:
        """What happens when `by` (visitor, teacher, self or misleading) is to answer the last attempts."""

        def answer(
            visit: Visit | None, words: str, heat: float, length: int, voice: str, request: gr.Request
        ) -> Iterator[Any]:
            visit = visit or Visit()
            frames = self.acts.answer(visit, by, words, sampling_of(heat, length), who_is(request), voice)
            yield from self._drawn(visit, frames)

        return answer

    def halt(self, request: gr.Request) -> None:
        self.acts.stops.stop(who_is(request).name)

    def restore(self, key: str) -> dict[Any, Any]:
        """After a reload: the dialogue that the browser has the key of, if it is still here."""
        visit = self.acts.again(key) if key else None
        if visit is None or visit.episode is None:
            return {self.visit: None}
        task = visit.episode.task
        fields = {self.prompt: task.prompt, self.reference: task.privilege.reference}
        return {**self._settled(visit), **fields, self.visit: visit, self.kept: visit.key}

    def _drawn(self, visit: Visit, frames: Iterator[Frame]) -> Iterator[dict[Any, Any]]:
        """The frames of an action as updates of the page; only what changes is sent."""
        shown = at_it = ""
        try:
            for frame in frames:
                if not frame.growing:
                    continue
                arena = draw.arena(self.players, frame.episode, frame.growing if not frame.who else ())
                if not shown or frame.who != at_it:
                    yield {**self._busy(frame), self.arena: arena}
                    at_it = frame.who
                elif arena != shown:
                    yield {self.arena: arena}
                shown = arena
        except UsageError as error:
            yield self._settled(visit, str(error))
            return
        yield {
            **self._settled(visit),
            self.visit: visit,
            self.kept: visit.key,
            self.words: gr.update(value="", interactive=self._open(visit)),
        }

    def _busy(self, frame: Frame) -> dict[Any, Any]:
        """The controls while an action is under way."""
        names = [p.label for p, g in zip(self.players, frame.growing, strict=True) if g]
        if frame.who:
            names = [frame.who]
        thinking = draw.notice(f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} thinking…")
        controls = [self.words, self.send, self.teach, self.itself, self.deceive, self.go]
        still = dict.fromkeys(controls, gr.update(interactive=False))
        return {**still, self.stop: gr.update(interactive=True), self.notice: thinking}

    @staticmethod
    def _open(visit: Visit) -> bool:
        """Whether feedback can be given."""
        return bool(visit.episode and visit.episode.tried and not visit.episode.over)

    def _settled(self, visit: Visit, trouble: str = "") -> dict[Any, Any]:
        """The page when nothing is under way."""
        episode = visit.episode
        tried = episode is not None and episode.tried
        open_ = self._open(visit)
        checked = episode is not None and episode.checked
        return {
            self.arena: draw.arena(self.players, episode),
            self.notice: draw.notice(trouble or self._next(visit), "trouble" if trouble else ""),
            self.chart: draw.solved_curve(self.players, visit.earlier, episode),
            self.seen: draw.inspect(self.players, episode),
            self.words: gr.update(interactive=open_),
            self.send: gr.update(interactive=open_),
            self.teach: gr.update(interactive=open_ and checked),
            self.itself: gr.update(interactive=open_),
            self.deceive: gr.update(interactive=tried and checked),
            self.go: gr.update(interactive=True),
            self.stop: gr.update(interactive=False),
        }

    def _next(self, visit: Visit) -> str:
        """What the visitor can do now."""
        episode = visit.episode
        if episode is None:
            return WELCOME
        solved = [
            f"{p.label} at attempt {marks.solved_at(r)}"
            for p, r in zip(self.players, episode.rollouts, strict=True)
            if marks.solved_at(r)
        ]
        tail = f" Solved: {', '.join(solved)}." if solved else ""
        if episode.over:
            return f"This task is over.{tail} Try another one, or see whether a right answer survives being misled."
        if not episode.checked:
            return "Without a right answer nothing can be checked: you are the judge."
        return f"Say what is wrong, or let the teacher answer.{tail}"
