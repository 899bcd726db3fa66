"""The Space: the page of `rl2f demo` for the adapter that the Space's variables name, or for the tiny student."""

import os

from rl2f_hub.demo import serve_demo

if __name__ == "__main__":

    def setting(name: str) -> str | None:
        return os.environ.get(name, "").strip() or None

    serve_demo(
        setting("RL2F_ADAPTER"),
        revision=setting("RL2F_ADAPTER_REVISION"),
        feedback_dataset=setting("RL2F_FEEDBACK_DATASET"),
        host=setting("GRADIO_SERVER_NAME") or "0.0.0.0",
        or_tiny=True,
    )
