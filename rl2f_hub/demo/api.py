"""The page's named endpoints, for gradio_client, curl or a script: JSON in, JSON out, one dialogue a key.

`attempt` starts a dialogue and answers its key; `feedback`, `teacher`, `correct_itself` and `mislead` go on with it.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from rl2f_hub.demo import batch, marks
from rl2f_hub.demo.acts import Acts, Frame, sampling_of
from rl2f_hub.demo.keep import rows_of
from rl2f_hub.demo.page import AT_ONCE, Page, who_is
from rl2f_hub.demo.teaching import SCRIPTED
from rl2f_hub.demo.tour import read_results
from rl2f_hub.demo.visits import Visit
from rl2f_hub.errors import RL2FError, UsageError


def add_endpoints(page: Page) -> None:
    """Name the public endpoints of a page; call it inside its blocks."""
    acts = page.acts

    def tasks(kind: str = "") -> list[dict[str, Any]]:
        """The tasks that can be picked, of one kind or all; `kind` is one of those that the answers name."""
        named = [(name, i) for name, indices in acts.kinds().items() for i in indices if kind in ("", name)]
        return [{"kind": name, "prompt": acts.tasks[i].prompt, "number": i} for name, i in named]

    def attempt(
        prompt: str, reference: str = "", temperature: float = 0.0, tokens: int = 64, request: gr.Request | None = None
    ) -> dict[str, Any]:
        """Start a dialogue: every model makes its first attempt. Answers the dialogue's key and what happened."""
        visit = Visit()
        return _last(
            acts, visit, acts.begin(visit, prompt, reference, sampling_of(temperature, tokens), who_is(request))
        )

    def feedback(dialogue: str, words: str, request: gr.Request | None = None) -> dict[str, Any]:
        """Say what is wrong to every model that is not right yet, and let it try again."""
        return go_on(dialogue, "visitor", words, request)

    def teacher(dialogue: str, who: str = SCRIPTED, request: gr.Request | None = None) -> dict[str, Any]:
        """Let the teacher (`scripted`, or `same model`), who knows the right answer, speak to each model about its last
        attempt."""
        return go_on(dialogue, "teacher", "", request, who)

    def correct_itself(dialogue: str, request: gr.Request | None = None) -> dict[str, Any]:
        """Let each model criticise its own last attempt, knowing nothing more, and try again."""
        return go_on(dialogue, "self", "", request)

    def mislead(dialogue: str, request: gr.Request | None = None) -> dict[str, Any]:
        """Doubt right attempts and hint at a wrong answer after wrong ones: who gives in?"""
        return go_on(dialogue, "misleading", "", request)

    def go_on(
        dialogue: str, by: str, words: str, request: gr.Request | None, teacher: str = SCRIPTED
    ) -> dict[str, Any]:
        visit = acts.found(dialogue)
        sampling = sampling_of(visit.temperature, visit.tokens)
        return _last(acts, visit, acts.answer(visit, by, words, sampling, who_is(request), teacher))

    def play_batch(
        kind: str = "", temperature: float = 0.0, tokens: int = 64, request: gr.Request | None = None
    ) -> dict[str, Any]:
        """Ten tasks with the teacher. Answers, by model, the attempt that solved each task (0: none) and the curve."""
        *_, last = acts.batch(kind, batch.SIZE, sampling_of(temperature, tokens), who_is(request))
        return {"tasks": [t.prompt for t in last.tasks], "solved_at": last.solved, "solved_by_attempt": last.curves}

    def export(dialogue: str) -> dict[str, Any]:
        """A dialogue as JSON, and as rows of the `dialogues` config of a didactic dataset."""
        visit = acts.found(dialogue)
        assert visit.episode is not None
        return {"dialogue": marks.result_of(acts.players, visit.episode), "rows": rows_of(acts, visit)}

    def contribute(dialogue: str, consent: bool = False, request: gr.Request | None = None) -> dict[str, Any]:
        """Give a dialogue to the feedback dataset. `consent` must be true: the words are published. Answers a receipt."""
        if page.contributions is None:
            raise RL2FError("This page takes no contributions.")
        receipt = page.contributions.give(rows_of(acts, acts.found(dialogue)), consent, who_is(request))
        return {"dataset": page.contributions.repo_id, "receipt": receipt}

    def take_back(receipt: str, request: gr.Request | None = None) -> dict[str, Any]:
        """Delete the contribution with that receipt."""
        if page.contributions is None:
            raise RL2FError("This page takes no contributions.")
        page.contributions.take_back(receipt, who_is(request))
        return {"deleted": True}

    def results() -> dict[str, Any]:
        """The metrics of the published evaluation, as they stand in the model's repository."""
        return read_results(page.results.model_id, page.results.revision)

    heavy: dict[str, Any] = {"concurrency_id": "students", "concurrency_limit": AT_ONCE}
    going_on: list[Callable[..., dict[str, Any]]] = [attempt, feedback, teacher, correct_itself, mislead]
    for function in going_on:
        gr.api(_checked(function), api_name=function.__name__, **heavy)
    gr.api(_checked(play_batch), api_name="batch", concurrency_id="batches", concurrency_limit=2)
    others: list[Callable[..., Any]] = [tasks, export, contribute, take_back, results]
    for other in others:
        gr.api(_checked(other), api_name=other.__name__)


def _last(acts: Acts, visit: Visit, frames: Iterator[Frame]) -> dict[str, Any]:
    for _ in frames:
        pass
    assert visit.episode is not None
    return {"dialogue": visit.key, **marks.result_of(acts.players, visit.episode)}


_KINDS: dict[Any, tuple[str, tuple[type, ...]]] = {
    str: ("a text", (str,)),
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
}


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function for JSON of strangers: wrong kinds of values and expected failures are one line, with no traceback."""
    signature = inspect.signature(function, eval_str=True)

    @functools.wraps(function)
    def checked(*args: Any, **named: Any) -> Any:
        try:
            for name, value in signature.bind(*args, **named).arguments.items():
                wanted, kinds = _KINDS.get(signature.parameters[name].annotation, ("", (object,)))
                odd = isinstance(value, bool) and bool not in kinds and object not in kinds
                if odd or not isinstance(value, kinds) or (isinstance(value, float) and not math.isfinite(value)):
                    raise UsageError(f"{name}: {ascii(value)[:60]} is not {wanted}; send {wanted}")
            return function(*args, **named)
        except RL2FError as error:
            raise gr.Error(str(error), print_exception=False) from None

    return checked
