"""What a visitor can do with a dialogue in the end: save it, give it to the feedback dataset, take it back.

A file to save is made in the browser: the server writes none.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gradio as gr

from rl2f_hub.demo import draw, marks
from rl2f_hub.demo.acts import Acts, Who, sampling_of
from rl2f_hub.demo.contribute import CONSENT, Contributions
from rl2f_hub.demo.visits import Visit
from rl2f_hub.errors import RL2FError, UsageError

DOWNLOAD = """(text, name) => {
  const a = document.createElement("a");
  a.href = URL.createObjectURL(new Blob([text], {type: "application/json"}));
  a.download = name; a.click(); setTimeout(() => URL.revokeObjectURL(a.href), 1000);
}"""


class KeepPanel:
    """The buttons for it."""

    def __init__(
        self, acts: Acts, visit: gr.State, contributions: Contributions | None, who_is: Callable[[Any], Who]
    ) -> None:
        self.acts, self.contributions, self.who_is = acts, contributions, who_is
        quick: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        with gr.Row():
            as_json = gr.Button("Download as JSON", size="sm", elem_id="export-json")
            as_rows = gr.Button("Download as dataset rows (JSON Lines)", size="sm", elem_id="export-rows")
        files = [gr.Textbox(visible=False), gr.Textbox(visible=False)]
        for button, save in ((as_json, self.save_json), (as_rows, self.save_rows)):
            saved = button.click(save, visit, files, queue=False, **quick)
            saved.success(None, files, None, js=DOWNLOAD, **quick)
        if contributions is None:
            return
        consent = gr.Checkbox(False, label=CONSENT.format(where=contributions.repo_id), elem_id="consent")
        give = gr.Button("Contribute this dialogue", size="sm", elem_id="contribute")
        with gr.Row(elem_id="taking-back"):
            receipt = gr.Textbox(label="Receipt of a contribution, to delete it with", elem_id="receipt", scale=3)
            back = gr.Button("Delete that contribution", size="sm", elem_id="withdraw", scale=1)
        told = gr.HTML(draw.notice(""), padding=False, elem_id="given")
        drawn = [told, consent, receipt]
        give.click(self.give, [visit, consent], drawn, api_name="page_give", **quick)
        back.click(self.take_back, receipt, drawn, api_name="page_take_back", **quick)

    def save_json(self, visit: Visit | None) -> tuple[str, str]:
        return self._told(lambda: json_text(self.acts, visit)), "dialogue.json"

    def save_rows(self, visit: Visit | None) -> tuple[str, str]:
        return self._told(lambda: marks.as_lines(rows_of(self.acts, visit))), "dialogues.jsonl"

    @staticmethod
    def _told(make: Callable[[], str]) -> str:
        try:
            return make()
        except UsageError as error:
            raise gr.Error(str(error), print_exception=False) from None

    def give(self, visit: Visit | None, consent: bool, request: gr.Request) -> tuple[str, Any, Any]:
        assert self.contributions is not None
        try:
            receipt = self.contributions.give(rows_of(self.acts, visit), consent, self.who_is(request))
        except RL2FError as error:
            return draw.notice(str(error), "trouble"), gr.skip(), gr.skip()
        told = f"Thank you. It will be in {self.contributions.repo_id} within minutes; its receipt can delete it."
        return draw.notice(told), False, receipt

    def take_back(self, receipt: str, request: gr.Request) -> tuple[str, Any, Any]:
        assert self.contributions is not None
        try:
            self.contributions.take_back(receipt or "", self.who_is(request))
        except RL2FError as error:
            return draw.notice(str(error), "trouble"), gr.skip(), gr.skip()
        return draw.notice("That contribution is deleted."), gr.skip(), ""


def rows_of(acts: Acts, visit: Visit | None) -> list[dict[str, Any]]:
    """The visit's dialogues as rows of the `dialogues` config.

    Raises:
        UsageError: there is no dialogue yet.
    """
    if visit is None or visit.episode is None or not visit.episode.tried:
        raise UsageError("There is no dialogue yet: let the models try first.")
    return marks.rows_of(acts.players, visit.episode, acts.model_name, sampling_of(visit.temperature, visit.tokens))


def json_text(acts: Acts, visit: Visit | None) -> str:
    """The visit's dialogue as a JSON text."""
    rows_of(acts, visit)  # refuses what is not there
    assert visit is not None and visit.episode is not None
    kept = {"model": acts.model_name} | marks.result_of(acts.players, visit.episode)
    return json.dumps(kept, indent=1, ensure_ascii=False)
