"""The two other tabs of the page: a batch of ten tasks with a live curve, and the tour of the published results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from rl2f_hub.demo import batch, draw
from rl2f_hub.demo.acts import MAX_TOKENS, Acts, Who, sampling_of
from rl2f_hub.demo.tour import read_figures, read_results, tour
from rl2f_hub.errors import RL2FError, UsageError

EVERY = "All kinds"


class BatchPanel:
    """Ten tasks with the teacher, both players, a curve that grows."""

    def __init__(self, acts: Acts, who_is: Callable[[Any], Who]) -> None:
        self.acts, self.who_is = acts, who_is
        gr.HTML(
            '<p class="rl2f-hint">Ten tasks, the teacher answers every wrong attempt. Who makes use of it?</p>',
            padding=False,
        )
        with gr.Row(equal_height=True):
            self.kind = gr.Dropdown(
                [EVERY, *acts.kinds()], value=EVERY, label="Tasks", min_width=180, elem_id="batch-kind"
            )
            self.heat = gr.Slider(0, 1.5, 0, step=0.1, label="Temperature (0: greedy)", min_width=180)
            self.length = gr.Slider(8, MAX_TOKENS, 64, step=8, label="Longest attempt, in tokens", min_width=180)
        with gr.Row():
            self.go = gr.Button("Play ten tasks", variant="primary", elem_id="batch-go")
            self.stop = gr.Button("Stop", interactive=False, elem_id="batch-stop")
        self.notice = gr.HTML(draw.notice(""), padding=False, elem_id="batch-notice")
        self.view = gr.HTML("", padding=False, elem_id="batch")
        self.go.click(
            self.play, [self.kind, self.heat, self.length], [self.notice, self.view, self.go, self.stop],
            api_visibility="private", concurrency_id="batches", concurrency_limit=2,
            show_progress="minimal", show_progress_on=[self.notice],
        )  # fmt: skip
        self.stop.click(self.halt, None, None, queue=False, api_visibility="private", show_progress="hidden")

    def play(self, kind: str, heat: float, length: int, request: gr.Request) -> Iterator[Any]:
        who = self._who(request)
        yield draw.notice("Starting…"), gr.skip(), gr.update(interactive=False), gr.update(interactive=True)
        try:
            for picture in self.acts.batch(kind, batch.SIZE, sampling_of(heat, length), who):
                yield draw.notice(picture.note), board(picture), gr.skip(), gr.skip()
        except UsageError as error:
            yield (
                draw.notice(str(error), "trouble"),
                gr.skip(),
                gr.update(interactive=True),
                gr.update(interactive=False),
            )
            return
        yield gr.skip(), gr.skip(), gr.update(interactive=True), gr.update(interactive=False)

    def halt(self, request: gr.Request) -> None:
        self.acts.stops.stop(self._who(request).name)

    def _who(self, request: gr.Request) -> Who:
        who = self.who_is(request)
        return Who(f"{who.name}/batch", who.address)  # its Stop is its own


def board(picture: batch.Picture) -> str:
    """A batch as HTML: progress, curve, and a table of the tasks."""
    label = f"{100 * picture.done:.0f} %"
    bar = (
        f'<div class="rl2f-bar" role="progressbar" aria-label="Progress" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{100 * picture.done:.0f}"><i style="width:{label}"></i></div>'
    )
    names = list(picture.solved)
    head = "".join(f"<th>{draw.plain(name)}</th>" for name in names)
    rows = []
    for i, task in enumerate(picture.tasks):
        cells = "".join(f"<td>{_cell(picture, name, i)}</td>" for name in names)
        text = " ".join(task.prompt.split())
        rows.append(f"<tr><td>{draw.plain(text[:110] + ('…' if len(text) > 110 else ''))}</td>{cells}</tr>")
    count = f"{len(picture.tasks)} tasks, with the teacher"
    legend = "✓ with the attempt that was right"
    return (
        f"{bar}{draw.curve(picture.curves, 'Solved by attempt', count)}"
        '<div class="rl2f-scroll" tabindex="0" role="region" aria-label="Tasks of the batch"><table class="rl2f-table"><thead>'
        f"<tr><th>Task <small>({legend})</small></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(picture: batch.Picture, name: str, index: int) -> str:
    at = picture.solved[name][index]
    if at:
        return f'<span class="rl2f-mark rl2f-correct">✓ <span class="rl2f-hidden">attempt</span> {at}</span>'
    if picture.ended or picture.made[name] >= batch.TURNS:
        return '<span class="rl2f-mark rl2f-wrong">✗ <span class="rl2f-hidden">not solved</span></span>'
    return '<span class="rl2f-mark rl2f-unknown">…</span>'


class ResultsPanel:
    """The tour; it is read when the tab is opened first, and whenever that failed."""

    def __init__(self, tab: Any, model_id: str = "", revision: str | None = None, name: str = "") -> None:
        self.model_id, self.revision, self.name = model_id, revision, name or model_id
        self.drawn = ""
        waiting = '<p class="rl2f-hint">Reading the published evaluation…</p>'
        self.view = gr.HTML(waiting, padding=False, elem_id="tour")
        tab.select(self.show, None, self.view, api_visibility="private", show_progress="minimal")

    def show(self) -> str:
        if not self.drawn:
            try:
                self.drawn = self.read()
            except RL2FError as error:
                return f'<p class="rl2f-hint">{draw.plain(str(error))}.</p>'
        return self.drawn

    def read(self) -> str:
        """The tour as HTML.

        Raises:
            RL2FError: there is nothing to show.
        """
        if not self.model_id:
            raise RL2FError("This model has no repository, and so no published evaluation")
        pictures = read_figures(self.model_id, self.revision)
        return tour(read_results(self.model_id, self.revision), self.name, pictures)
