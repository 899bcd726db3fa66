"""Stage `publish`: recorded dialogues become a Hub dataset with fixed features, a card and an index, in one commit.

The rows are written as Parquet shards first (build.py), then everything goes to the Hub at once (hub/commit.py): no
half of a data set is ever visible, and an interrupted push goes on where it was. `rl2f.json` in the repository is the
index: shards with row counts, and what each run added. `append` adds the shards of a run to those that are there
without touching them. Nothing here knows which Hub answers. Needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.generate import each_row
from rl2f_hub.hub.commit import Contents, Remote, look, plan, put
from rl2f_hub.hub.errors import hub_errors
from rl2f_hub.publish.build import Existing, build, columns_digest, configs_of, prompt_digest
from rl2f_hub.publish.replaced import INDEX, replaced
from rl2f_hub.publish.schema import COLUMNS, features
from rl2f_hub.publish.shards import write_parquet
from rl2f_hub.publish.traces import write_traces
from rl2f_hub.records import fingerprint
from rl2f_hub.runs import Run

PART_KEYS = {"recipe", "recipe_fingerprint", "seed", "student", "dialogue", "teacher", "guard", "stats", "fingerprint"}
__all__ = ["COLUMNS", "INDEX", "dry_run", "features", "publish", "write_parquet"]


def publish(run: Run, namespace: str, *, append: bool = False, api: Any = None) -> dict[str, Any]:
    """Pushes the dataset; returns {repo_id, revision, url, fingerprint, rows, shards, added_rows, card_kept_by_hand}.

    Args:
        run: one whose stage `generate` is done.
        namespace: the user or organisation whose repository it becomes.
        append: keep the rows on the Hub and add this run's; without it they replace those on the Hub.
        api: a `huggingface_hub.HfApi` other than the environment's.
    """
    from rl2f_hub.runtime.progress import bar

    repo_id = f"{namespace}/{run.recipe.hub.dataset}"
    api = api or _api()
    with hub_errors(repo_id):
        existing = _existing(api, repo_id, run) if append else None
        index = build(run, existing)
        with bar("publish: upload", 1, "commits") as advance:
            done = put(
                api,
                repo_id,
                "dataset",
                _contents(run, repo_id, index, existing, api.endpoint),
                private=run.recipe.hub.private,
                message=f"{'Add rows of' if append else 'Dataset of'} {run.recipe.name}",
            )
            advance(1)
    whole = merged_index(run, index, existing)
    return {
        "repo_id": repo_id,
        "revision": done.revision,
        "url": done.url,
        "fingerprint": fingerprint_of(whole),
        "rows": rows_of(whole["shards"]),
        "shards": {name: len(shards) for name, shards in whole["shards"].items()},
        "added_rows": index["rows"],
        "already_there": index["stats"]["already_there"],
        "card_kept_by_hand": [*done.kept, *done.removed],
    }


def dry_run(run: Run, namespace: str, *, append: bool = False, api: Any = None) -> dict[str, Any]:
    """What `publish` would do, from the shards that it would send; the Hub is read and not changed.

    `run`, `namespace`, `append` and `api`: as in `publish`.
    """
    repo_id = f"{namespace}/{run.recipe.hub.dataset}"
    api = api or _api()
    with hub_errors(repo_id):
        existing = _existing(api, repo_id, run) if append else None
        index = build(run, existing)
        return plan(
            api,
            repo_id,
            "dataset",
            _contents(run, repo_id, index, existing, api.endpoint),
            private=run.recipe.hub.private,
        )


def fingerprint_of(whole: dict[str, Any]) -> str:
    """Equal content, equal string, wherever and whenever it was made; of a data set of one part, that part's own."""
    found = [part["fingerprint"] for part in whole["parts"]]
    return str(found[0]) if len(found) == 1 else fingerprint(found)


def rows_of(shards: dict[str, list[dict[str, Any]]]) -> dict[str, int]:
    """Rows by config and split."""
    return {name: sum(shard["rows"] for shard in found) for name, found in shards.items()}


def merged_index(run: Run, index: dict[str, Any], existing: Existing | None) -> dict[str, Any]:
    """`rl2f.json` of the whole data set: {schema, columns, shards, parts}; a part is what one run added."""
    from rl2f_hub.hub.dataset_cards import how_made

    part = how_made(run) | {"fingerprint": index["fingerprint"], "rows": index["rows"], "stats": index["stats"]}
    before = existing.index if existing else {}
    parts = list(before.get("parts", []))
    shards = {name: list(found) for name, found in before.get("shards", {}).items()}
    if index["rows"] or not parts:
        parts.append(part)
        for name, found in index["shards"].items():
            shards[name] = shards.get(name, []) + found
    ordered = {name: shards[name] for name in sorted(shards, key=lambda n: (list(COLUMNS).index(n.split("/")[0]), n))}
    return {"schema": 1, "columns": index["columns"], "shards": ordered, "parts": parts}


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi()


def _contents(
    run: Run, repo_id: str, index: dict[str, Any], existing: Existing | None, endpoint: str
) -> Callable[[Remote], Contents]:
    from rl2f_hub.hub.dataset_cards import dataset_card

    whole = merged_index(run, index, existing)
    ours = {shard["path"] for found in whole["shards"].values() for shard in found}
    folder = run.path("publish", "data")
    files: dict[str, Any] = {
        shard["path"]: folder / shard["path"] for found in index["shards"].values() for shard in found
    }
    if run.recipe.hub.traces:
        rows = each_row(run, run.outputs("generate")["shards"])
        for file in write_traces(rows, run.dir / "publish" / "traces", run.recipe.hub.traces):
            files[f"traces/{file.name}"] = file
    files[INDEX] = (json.dumps(whole, indent=1, ensure_ascii=False) + "\n").encode()
    card = dataset_card(repo_id, whole, endpoint=endpoint, co2_g=run.recipe.hub.co2_g)

    def contents(remote: Remote) -> Contents:
        if existing is not None and existing.index and remote.text(INDEX) != files[INDEX].decode():
            _still_there(existing, remote)
        return Contents(files, card, *replaced(remote, {*files, *ours}, append=existing is not None))

    return contents


def _still_there(existing: Existing, remote: Remote) -> None:
    """Others may have appended since we looked: our shard numbers would be theirs."""
    if json.loads(remote.text(INDEX) or "{}").get("shards") != existing.index["shards"]:
        raise RL2FError(
            f"hub: {remote.repo_id}: somebody else has added rows at the same time; run the same command again"
        )


def _existing(api: Any, repo_id: str, run: Run) -> Existing:
    """The index and the ids of the rows on the Hub; nothing for a repository that is not there yet.

    Raises:
        UsageError: a data set that `publish` did not make, or made with other columns.
    """
    remote = look(api, repo_id, "dataset")
    if not any(path for path in remote.files if path not in (".gitattributes", "README.md")):
        return Existing()
    text = remote.text(INDEX)
    try:
        index = json.loads(text or "")
        known, shards = index["columns"], index["shards"]
        whole = bool(index["parts"]) and all(set(part) >= PART_KEYS for part in index["parts"])
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"--append: {repo_id} holds no readable {INDEX}, so it was not made by `rl2f publish`; publish without "
            "--append to replace it, or choose another hub.dataset"
        ) from None
    if not whole:
        raise UsageError(
            f"--append: {INDEX} of {repo_id} is damaged or that of an import; publish without --append to replace the data set"
        )
    if known != columns_digest(configs_of(run.recipe.hub.preferences)):
        raise UsageError(
            f"--append: {repo_id} has other configs or columns than this version writes (hub.preferences: "
            f"{run.recipe.hub.preferences}); publish without --append to replace it, or choose another hub.dataset"
        )
    missing = next((s["path"] for found in shards.values() for s in found if s["path"] not in remote.files), None)
    if missing is not None:
        raise UsageError(f"--append: {repo_id} lacks {missing}, which its {INDEX} names; publish without --append")
    dialogues = frozenset(
        (row_id, student.partition("@")[0], teacher)
        for row_id, student, teacher in _columns(api, remote, shards, "dialogues", "dialogue_id", "student", "teacher")
    )
    known_tasks = _columns(api, remote, shards, "tasks", "task_id", "prompt")
    tasks = {task_id: prompt_digest(prompt) for task_id, prompt in known_tasks}
    return Existing(index, dialogues, frozenset(row[0] for row in dialogues), tasks)


def _columns(
    api: Any, remote: Remote, shards: dict[str, list[dict[str, Any]]], config: str, *names: str
) -> Iterator[tuple[Any, ...]]:
    """The values of some columns of a config on the Hub, row by row: only those columns are read."""
    import pyarrow.parquet as pq
    from huggingface_hub import HfFileSystem

    hub = HfFileSystem(endpoint=api.endpoint, token=api.token)
    for name, found in shards.items():
        if name.split("/")[0] == config:
            for shard in found:
                with hub.open(f"datasets/{remote.repo_id}@{remote.head}/{shard['path']}") as file:
                    for batch in pq.ParquetFile(file).iter_batches(columns=list(names)):
                        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
