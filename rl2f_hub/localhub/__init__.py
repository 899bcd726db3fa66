"""An embedded Hugging Face Hub: serves the real clients (huggingface_hub, datasets, transformers, peft) from a folder.

    from rl2f_hub.localhub import LocalHub
    with LocalHub.start(Path("hub")) as hub:
        subprocess.run([...], env={**os.environ, **hub.env()})

A client in there does push_to_hub, load_dataset, from_pretrained, `hf upload` as it would on the real Hub.

Data flows: server.py (start or join, environment for clients) -> child.py (the server process) -> app.py (routing,
users) -> repos_api, files_api, refs_api, lfs, xet, spaces, jobs, web (endpoints) -> store.py, history.py, tree.py,
blobs.py (files on disk). Importing this package loads none of the server's dependencies.

Left out, on purpose: git, gated repositories, discussions (a pull request is a ref, `refs/pr/N`), running Spaces and
jobs (both are recorded), collections, buckets, webhooks, the dataset-viewer API, and collecting unused blobs.
"""

from .server import LocalHub

__all__ = ["LocalHub"]
