"""The Space: the page of `rl2f demo` for the adapter that the Space's variables name."""

import os

from rl2f_hub.demo import serve_demo
from rl2f_hub.errors import RL2FError

if __name__ == "__main__":
    adapter = os.environ.get("RL2F_ADAPTER", "").strip()
    if not adapter:
        raise SystemExit("RL2F_ADAPTER is not set: add it to the Space's variables, as owner/name of an adapter")
    try:
        serve_demo(
            adapter,
            revision=os.environ.get("RL2F_ADAPTER_REVISION", "").strip() or None,
            host=os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"),
        )
    except RL2FError as error:
        raise SystemExit(str(error)) from None
