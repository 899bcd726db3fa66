"""`rl2f demo`: a page on which a visitor corrects a model in words and sees base and RL2F try again side by side.

`players.py`, `episode.py` and `play.py` are the episode without any interface (the terminal uses them too), `acts.py` what a
visitor can do, `page.py`, `panels.py` and `api.py` the Gradio page and its endpoints, `draw.py` and `look.py` its looks,
`space.py` and `check.py` the way to a Space. Importing this package imports neither torch nor gradio.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rl2f_hub.errors import RL2FError
from rl2f_hub.records import Task

if TYPE_CHECKING:
    import gradio as gr

    from rl2f_hub.demo.players import Player

TINY = "the tiny student that comes with rl2f_hub"


def build_demo(
    players: list[Player],
    tasks: Sequence[Task] = (),
    *,
    model_name: str = "",
    warning: str = "",
    feedback_dataset: str | None = None,
    results: tuple[str, str | None] = ("", None),
    queued: int = 64,
) -> gr.Blocks:
    """The page over players that are loaded already. Launch it with `**launch_settings()`.

    Args:
        tasks: what visitors can pick from; built-in whole-number tasks by default.
        warning: shown on top of the page.
        feedback_dataset: where consented dialogues go; none are taken by default.
        results: repository or folder, and revision, of the evaluation to show.
        queued: how many actions may wait; whoever comes when that many do is told that the queue is full.
    """
    from rl2f_hub.demo.acts import Acts
    from rl2f_hub.demo.api import add_endpoints
    from rl2f_hub.demo.contribute import Contributions
    from rl2f_hub.demo.episode import EXAMPLES, playable
    from rl2f_hub.demo.page import Page
    from rl2f_hub.teachers.scripted import ScriptedTeacher

    kept, note = playable(list(tasks) or EXAMPLES)
    acts = Acts(players, kept or list(EXAMPLES), ScriptedTeacher(), model_name)
    contributions = Contributions(feedback_dataset) if feedback_dataset else None
    warning = " ".join(filter(None, (warning, note)))
    page = Page(acts, warning=warning, contributions=contributions, results=results)
    with page.blocks:
        add_endpoints(page)
    page.blocks.queue(max_size=queued, default_concurrency_limit=8)
    return page.blocks


def launch_settings(host: str = "127.0.0.1") -> dict[str, Any]:
    """Looks and manners of the server: nothing from other hosts, no history, no monitoring, uploads of at most 1 kB.

    Args:
        host: where it listens; on loopback only requests that name this machine are answered.
    """
    from rl2f_hub.demo.hosts import host_settings
    from rl2f_hub.demo.look import CSS, HEAD, theme

    return {
        "server_name": host,
        **host_settings(host),
        "theme": theme(),
        "css": CSS,
        "head": HEAD,
        "share": False,
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
        "run_history": False,
        "enable_monitoring": False,
        "max_file_size": "1kb",
        "footer_links": ["api"],
        "state_session_capacity": 1_000,
    }


def serve_demo(
    model_id: str | None = None,
    *,
    revision: str | None = None,
    port: int | None = None,
    host: str = "127.0.0.1",
    tasks: Sequence[Task] = (),
    feedback_dataset: str | None = None,
    or_tiny: bool = False,
) -> None:
    """Serve the page for an adapter or a full model (Hub id or path) until it is interrupted.

    Args:
        model_id: None serves the tiny student that comes with the package.
        port: None takes the first free one from 7860, or GRADIO_SERVER_PORT.
        tasks: what visitors can pick from; a few built-in whole-number tasks by default.
        feedback_dataset: a dataset on the Hub for dialogues that visitors agree to give.
        or_tiny: where the model cannot be loaded, say so on the page and serve the tiny student meanwhile.
    Raises:
        RL2FError: the model cannot be loaded, without `or_tiny`.
    """
    from rl2f_hub.demo.players import cache_alone_if_the_hub_is_silent, players_of, tiny_players, warm
    from rl2f_hub.demo.zero import on_zero_gpu
    from rl2f_hub.students.load import open_pair

    name, warning, players = TINY, "", None
    results: tuple[str, str | None] = (tiny_folder(), None)
    if model_id:
        try:
            with cache_alone_if_the_hub_is_silent(model_id):
                players = players_of(*open_pair(model_id, revision))
            name, results = f"{model_id}@{revision}" if revision else model_id, (model_id, revision)
        except RL2FError as error:
            if not or_tiny:
                raise
            warning = f"{error}. Meanwhile this page shows {TINY}; restart it to try again."
            tasks = ()
    players = on_zero_gpu(players or tiny_players())
    page = build_demo(
        players,
        tasks,
        model_name=name,
        warning=warning,
        feedback_dataset=feedback_dataset,
        results=results,
    )
    warm(players)
    page.launch(server_port=port, **launch_settings(host))


def tiny_folder() -> str:
    """Where the tiny student's files are."""
    from pathlib import Path

    return str(Path(__file__).parent / "tiny")
