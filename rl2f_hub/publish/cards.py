"""Cards of data sets, made here or imported, from the index of the data set alone; what was not measured says so.

Every section stands between invisible marks (card_merge.py), so that a card that its owner edits on the Hub keeps those edits.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from rl2f_hub.hub.card_merge import sealed
from rl2f_hub.hub.card_text import PAPER, linked, public_model, render
from rl2f_hub.runs import Run
from rl2f_hub.tasks.catalogue import license_of_all

# Licences of sources that have an identifier on the Hub; anything else makes the data set's licence `other`.


def wilson(k: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's 95 % interval of the share k/n; (0, 1) without observations."""
    if not n:
        return 0.0, 1.0
    centre, spread = (k + z * z / 2) / (n + z * z), z * math.sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    return max(0.0, centre - spread), min(1.0, centre + spread)


def how_made(run: Run) -> dict[str, Any]:
    """How a run made its rows, as its recipe and manifest say: what stands behind one part of a data set."""
    recipe, stages = run.recipe, run.manifest["stages"]
    base = stages.get("base", {}).get("outputs") or {}
    student = base.get("repo_id") or recipe.model.id
    generated = stages["generate"]["outputs"]
    model = recipe.teacher.model.id if recipe.teacher.model else None
    model = recipe.teacher.endpoint.model if recipe.teacher.endpoint else model
    return {
        "recipe": recipe.name,
        "recipe_fingerprint": run.manifest["fingerprint"],
        "seed": recipe.seed,
        "student": public_model(str(student)),
        "student_revision": base.get("revision") or recipe.model.revision,
        "sampling": {
            "temperature": recipe.generate.temperature,
            "top_p": recipe.generate.top_p,
            "samples_per_task": recipe.generate.samples_per_task,
        },
        "dialogue": recipe.dialogue.model_dump(mode="json"),
        "teacher": {
            "kind": recipe.teacher.kind,
            "model": public_model(model) if model else None,
            "doubt_rate": recipe.teacher.doubt_rate,
        },
        "guard": generated["guard"],
        "teacher_tokens": generated["counts"].get("teacher_tokens", 0),
        "wall_s": stages["generate"]["wall_s"],
        "hardware": run.manifest["hardware"],
        "versions": run.manifest["versions"],
    }


def dataset_card(repo_id: str, whole: dict[str, Any], *, endpoint: str, co2_g: float | None = None) -> str:
    """The sealed card of a data set from its index (`rl2f.json`)."""
    parts = whole["parts"]
    totals: dict[str, Counter[str]] = {
        key: sum((Counter(part["stats"][key]) for part in parts), Counter())
        for key in ("counts", "solved_at", "sources", "privileges", "stop_reasons")
    }
    licence, licences = license_of_all(list(totals["sources"]))
    n = totals["counts"]["dialogues"]
    turns = max(part["dialogue"]["max_turns"] for part in parts)
    solved = [sum(k for turn, k in totals["solved_at"].items() if 0 < int(turn) <= t) for t in range(1, turns + 1)]
    rows = {name: sum(shard["rows"] for shard in found) for name, found in whole["shards"].items()}
    text = render(
        "dataset.md.jinja",
        repo_id=repo_id,
        parts=parts,
        part=parts[-1],
        rows=rows,
        config_names=list(dict.fromkeys(name.split("/")[0] for name in rows)),
        size=size_category(n),
        license=licence,
        licences=licences,
        counts=totals["counts"],
        n=n,
        accuracy=[(k / n if n else None, *wilson(k, n)) for k in solved],
        stops=totals["stop_reasons"],
        sources=sorted(totals["sources"]),
        privileges=sorted(totals["privileges"]),
        unguarded=sum(part["guard"].get("unguarded", 0) for part in parts),
        example=next((p["stats"]["example"] for p in reversed(parts) if p["stats"]["example"]), None),
        student_link=linked(endpoint, "model", parts[-1]["student"], parts[-1]["student_revision"]),
        co2_g=co2_g,
        paper=PAPER,
    )
    return sealed(_with_configs(text, whole["shards"]))


def imported_card(repo_id: str, made: dict[str, Any], *, license: str | None, **about: Any) -> str:
    """The sealed card of an imported data set; `about`: source, revision, mapping, correct."""
    text = render(
        "imported.md.jinja",
        repo_id=repo_id,
        license=license or "other",
        stated=license is not None,
        n=made["rows"]["dialogues/train"],
        size=size_category(made["rows"]["dialogues/train"]),
        rows=made["rows"],
        left_out=made["left_out"],
        **about,
    )
    return sealed(_with_configs(text, made["shards"]))


def size_category(n: int) -> str:
    for limit, name in ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M")):
        if n < limit:
            return name
    return "1M<n<10M"


def _with_configs(text: str, shards: dict[str, list[dict[str, Any]]]) -> str:
    """The card with what the loader and the viewer read: configs, their files, features and sizes."""
    from datasets import DatasetInfo, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCard

    from rl2f_hub.publish.schema import COLUMNS, features

    card: Any = DatasetCard(text)
    configs, infos = [], DatasetInfosDict()
    for config in COLUMNS:
        splits = {name.split("/")[1]: found for name, found in shards.items() if name.split("/")[0] == config}
        if not splits:
            continue
        files = [{"split": split, "path": f"{config}/{split}-*.parquet"} for split in splits]
        configs.append(
            {"config_name": config, "data_files": files} | ({"default": True} if config == "dialogues" else {})
        )
        sizes = {split: sum(shard["arrow_bytes"] for shard in found) for split, found in splits.items()}
        info = SplitDict()
        for split, found in splits.items():
            info.add(SplitInfo(split, sizes[split], sum(shard["rows"] for shard in found)))
        downloaded = sum(shard["bytes"] for found in splits.values() for shard in found)
        infos[config] = DatasetInfo(
            features=features(config), splits=info, download_size=downloaded, dataset_size=sum(sizes.values())
        )
    infos.to_dataset_card_data(card.data)
    card.data.configs = configs
    return str(card)
