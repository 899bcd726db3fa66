"""`rl2f space push`: the demo as a Space. Its files in one commit, its variables, and secrets by name.

A Space is `spaces/feedback-demo` as it stands (the same `app.py` everywhere) with a card that names what it shows. What
it shows is said by variables: adapter, revision, feedback dataset. Secrets are given by the names of environment
variables; their values go to the Hub and nowhere else. A second push updates what is there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.hub.card_text import render
from rl2f_hub.runtime.hub_errors import hub_errors

PACKAGE = "rl2f-hub"


def source_folder() -> Path:
    """The Space's files: inside the package once installed, beside it in a checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "_spaces" / "feedback-demo", package.parent / "spaces" / "feedback-demo"):
        if folder.is_dir():
            return folder
    raise RL2FError("spaces/feedback-demo: the Space's files are missing; reinstall rl2f-hub")


def requirements(wheel: Path | None, folder: Path | None = None) -> str:
    """The Space's `requirements.txt`; with a wheel of ours shipped along, that file instead of the index's release."""
    text = ((folder or source_folder()) / "requirements.txt").read_text(encoding="utf-8")
    if wheel is None:
        return text
    lines = [f"./{wheel.name}" if line.split("==")[0].split("[")[0] == PACKAGE else line for line in text.splitlines()]
    return "\n".join(lines) + "\n"


def space_card(
    adapter: str | None = None,
    revision: str | None = None,
    feedback_dataset: str | None = None,
    private_adapter: bool = False,
) -> str:
    """The Space's README with its front matter; without an adapter it leaves open which one it shows."""
    import gradio

    return render(
        "space.md.jinja",
        adapter=adapter,
        revision=revision,
        feedback_dataset=feedback_dataset,
        private_adapter=private_adapter,
        gradio=gradio.__version__,
    )


def push_space(
    repo_id: str,
    adapter: str,
    *,
    revision: str | None = None,
    feedback_dataset: str | None = None,
    secrets: list[str] | None = None,
    hardware: str | None = None,
    wheel: Path | None = None,
    private: bool = True,
) -> dict[str, Any]:
    """Create or update a Space.

    Returns {repo_id, revision, url, adapter, adapter_revision, variables, secrets, collection}; the last is None where no
    collection of the Space's owner holds the adapter (`rl2f push` makes one), else what `hub.group.group` says.

    Args:
        adapter: a repository on the Hub; its newest commit is pinned unless a revision is given.
        secrets: names of environment variables.
        wheel: a wheel of rl2f_hub to upload with the files and install from there.
    Raises:
        UsageError: a secret that is not set, a name that is none, a wheel that is none.
        RL2FError: the Hub refused.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    if repo_id.count("/") != 1:
        raise UsageError(f"space: {repo_id!r} is no repository; write owner/name")
    values = {name: _secret(name) for name in secrets or []}
    check_wheel(wheel)
    api = HfApi()
    with hub_errors(adapter):
        info = api.model_info(adapter, revision=revision)
    variables = {"RL2F_ADAPTER": adapter, "RL2F_ADAPTER_REVISION": str(info.sha)}
    if feedback_dataset:
        variables["RL2F_FEEDBACK_DATASET"] = feedback_dataset
    card = space_card(adapter, str(info.sha), feedback_dataset, bool(info.private))
    folder = source_folder()
    operations = [
        CommitOperationAdd("README.md", card.encode()),
        CommitOperationAdd("app.py", (folder / "app.py").read_bytes()),
        CommitOperationAdd("requirements.txt", requirements(wheel).encode()),
    ]
    if wheel is not None:
        operations.append(CommitOperationAdd(wheel.name, wheel.read_bytes()))
    with hub_errors(repo_id):
        url = api.create_repo(repo_id, repo_type="space", space_sdk="gradio", private=private, exist_ok=True)
        # Settings first: the commit starts a build, which should find them.
        for key, value in variables.items():
            api.add_space_variable(repo_id, key, value)
        for key in {"RL2F_FEEDBACK_DATASET"} - set(variables):
            if key in api.get_space_variables(repo_id):
                api.delete_space_variable(repo_id, key)
        for key, value in values.items():
            api.add_space_secret(repo_id, key, value)
        if hardware:
            api.request_space_hardware(repo_id, cast(Any, hardware))
        commit = api.create_commit(repo_id, operations, commit_message=f"Demo of {adapter}", repo_type="space")
        grouped = _beside_its_adapter(api, repo_id, adapter, private)
    return {
        "repo_id": repo_id,
        "revision": commit.oid,
        "url": str(url),
        "adapter": adapter,
        "adapter_revision": str(info.sha),
        "variables": variables,
        "secrets": sorted(values),
        "collection": grouped,
    }


def _beside_its_adapter(api: Any, repo_id: str, adapter: str, private: bool) -> dict[str, Any] | None:
    """Puts the Space into the collection that its adapter is in, if there is one."""
    from rl2f_hub.hub.group import group, title_of

    owner = repo_id.split("/")[0]
    title = title_of(api, owner, adapter)
    if title is None:
        return None
    return group(api, owner, title, [(repo_id, "space", f"Correct {adapter} in words")], private=private)


def check_wheel(wheel: Path | None) -> None:
    """Refuse what is no wheel of ours."""
    if wheel is not None and not (wheel.is_file() and wheel.name.startswith("rl2f_hub-") and wheel.suffix == ".whl"):
        raise UsageError(f"--wheel: {str(wheel)!r} is no wheel of rl2f_hub; make one with `pip wheel --no-deps .`")


def _secret(name: str) -> str:
    if not name.isidentifier():
        raise UsageError(f"--secret: {name!r} is no name of an environment variable")
    value = os.environ.get(name, "")
    if not value:
        raise UsageError(f"--secret: {name} is not set in the environment")
    return value


def read_front_matter(folder: Path) -> dict[str, Any]:
    """The front matter of a Space's README, as the Hub reads it.

    Raises:
        RL2FError: there is none, or it lacks what a Gradio Space needs.
    """
    import yaml
    from huggingface_hub import SpaceCard

    file = folder / "README.md"
    try:
        data = SpaceCard.load(file).data.to_dict()
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RL2FError(f"{file}: no valid front matter ({' '.join(str(error).split())[:120]})") from None
    for key in ("sdk", "sdk_version", "app_file"):
        if key not in data:
            raise RL2FError(f"{file}: `{key}` is missing in the front matter")
    if data["sdk"] != "gradio":
        raise RL2FError(f"{file}: sdk is {data['sdk']!r}; a Gradio Space is expected")
    return data
