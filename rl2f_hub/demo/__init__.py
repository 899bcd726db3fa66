"""`rl2f demo`: a page on which a visitor corrects a model in words and sees base and RL2F try again side by side.

`play.py` is the episode without any interface (the terminal uses it too), `page.py` the Gradio page, `look.py` its
colours. Importing this package imports neither torch nor gradio.

Left out: streaming, batches with a live curve, export and contribution of dialogues, misleading feedback.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rl2f_hub.demo.play import EXAMPLES, Player, players_of
from rl2f_hub.records import Task

if TYPE_CHECKING:
    import gradio as gr

__all__ = ["EXAMPLES", "Player", "build_demo", "players_of", "serve_demo"]


def build_demo(players: list[Player], tasks: Sequence[Task], *, model_name: str = "") -> gr.Blocks:
    """The page over players that are loaded already. Launch it with `**launch_settings()`."""
    from rl2f_hub.demo.page import build

    return build(players, tasks, model_name)


def launch_settings() -> dict[str, Any]:
    """Looks and manners of the server: no other hosts, no history, no monitoring, no uploads."""
    from rl2f_hub.demo.look import CSS, HEAD, theme

    return {
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
    model_id: str,
    *,
    revision: str | None = None,
    port: int | None = None,
    host: str = "127.0.0.1",
    tasks: Sequence[Task] = (),
) -> None:
    """Serve the page for an adapter or a full model (Hub id or path) until it is interrupted.

    Args:
        port: None takes the first free one from 7860, or GRADIO_SERVER_PORT.
        tasks: what visitors can pick from; a few built-in whole-number tasks by default.
    """
    from rl2f_hub.students.load import open_pair

    players = players_of(*open_pair(model_id, revision))
    page = build_demo(players, tasks, model_name=f"{model_id}@{revision}" if revision else model_id)
    page.launch(server_name=host, server_port=port, **launch_settings())
