"""Which Hub the clients speak to, and whose repositories a token may write.

The clients read their environment when they are imported, so the Hub is opened first: `endpoint: local` starts (or joins)
the embedded Hub, anything else speaks to the Hub that is named.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.recipe import HubSpec, Recipe


@contextmanager
def open_hub(recipe: Recipe, folder: Path) -> Iterator[dict[str, str]]:
    """Points the Hub clients at the recipe's Hub; yields {endpoint, root}.

    Raises:
        RL2FError: the clients are loaded already and point elsewhere.
    """
    with open_hub_of(recipe.hub, folder.parent / "hub") as where:
        yield where


@contextmanager
def open_hub_of(spec: HubSpec, default_root: Path) -> Iterator[dict[str, str]]:
    """`open_hub` for a section `hub` without a recipe around it."""
    if spec.endpoint == "local":
        from rl2f_hub.localhub import LocalHub

        root = Path(spec.root) if spec.root else default_root
        with LocalHub.start(root, user=spec.namespace or "me") as hub, _environment(hub.env()):
            _check_clients(hub.endpoint)
            yield {"endpoint": hub.endpoint, "root": str(root)}
        return
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co") if spec.endpoint == "hf" else spec.endpoint
    endpoint = endpoint.rstrip("/")  # `datasets` puts a path behind it as it is
    if "@" in endpoint:  # it is written into manifests and cards
        raise UsageError("HF_ENDPOINT: it holds a user or a password; leave them out, a token is read from HF_TOKEN")
    with _environment({"HF_ENDPOINT": endpoint} if "HF_ENDPOINT" in os.environ or spec.endpoint != "hf" else {}):
        _check_clients(endpoint)
        yield {"endpoint": endpoint, "root": ""}


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def _check_clients(endpoint: str) -> None:
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None and constants.ENDPOINT.rstrip("/") != endpoint.rstrip("/"):
        raise RL2FError(
            f"hub.endpoint: huggingface_hub is loaded already and speaks to {constants.ENDPOINT}, not to {endpoint}; "
            "start a fresh process (the command line does) or set HF_ENDPOINT before importing it"
        )


def namespace_of(spec: HubSpec) -> str:
    """Whose repositories are written to: the namespace of the section `hub`, which the token must be allowed to use.

    Raises:
        RL2FError: no or wrong token, unreachable Hub, or a token without rights there.
    """
    from huggingface_hub import HfApi

    from rl2f_hub.runtime.hub_errors import hub_errors

    with hub_errors(spec.namespace or "(your namespace)"):
        who = HfApi().whoami()
    allowed = [who["name"], *(org["name"] for org in who.get("orgs", []))]
    namespace = spec.namespace or who["name"]
    if namespace not in allowed:
        raise RL2FError(f"hub.namespace: {namespace!r} is not open to this token; it may write to {', '.join(allowed)}")
    return str(namespace)
