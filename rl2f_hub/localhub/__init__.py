"""An embedded Hugging Face Hub: serves the real clients (huggingface_hub, datasets, transformers, peft) from a folder.

    from rl2f_hub.localhub import LocalHub
    with LocalHub.start(Path("hub")) as hub:
        subprocess.run([...], env={**os.environ, **hub.env()})

A client in there does push_to_hub, load_dataset, from_pretrained, `hf upload` as it would on the real Hub.

Data flows: server.py (start or join, environment for clients) -> child.py (the server process) -> app.py (routing,
users) -> *_api.py, lfs, xet, gate, spaces, jobs, web (endpoints) -> store.py, history.py, tree.py, blobs.py (files on
disk). Beside it: fsck.py checks a root, upstream.py copies repositories to the real Hub, faults.py makes the server
fail for tests of clients. Importing this package loads none of the server's dependencies.

Left out, on purpose: git, running Spaces and jobs (both are recorded), buckets, webhooks, likes, papers, resource
groups, the dataset-viewer API, Xet downloads (clients fall back to plain HTTP), and collecting unused blobs.
"""

from .server import LocalHub

__all__ = ["LocalHub"]
