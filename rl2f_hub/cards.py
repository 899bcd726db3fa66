"""Cards of datasets and models, from `cards/*.md.jinja` and the run's own figures.

Numbers come from the manifest and the metrics file only; what was not measured says so. Text from tasks is escaped,
since a card is Markdown that others will render.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rl2f_hub.evaluation.metrics import solved_by_turn
from rl2f_hub.runs import Run
from rl2f_hub.tasks.catalogue import licence_of


def templates() -> Path:
    """The folder of card templates: beside the package in a checkout, inside it once installed."""
    for folder in (Path(__file__).parent / "_cards", Path(__file__).parent.parent / "cards"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError("cards/: the templates are missing; reinstall rl2f-hub")


def render(name: str, **values: Any) -> str:
    """A template rendered in Jinja's sandbox; an undefined name is an error."""
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        loader=FileSystemLoader(templates()), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = plain
    environment.filters["percent"] = lambda x: "not measured" if x is None else f"{100 * x:.1f} %"
    return environment.get_template(name).render(**values)


def plain(text: str, limit: int = 300) -> str:
    """Outside text for Markdown: one line, no markup, no HTML, cut to `limit` characters."""
    line = " ".join(str(text).split())[:limit]
    return "".join(f"&#{ord(c)};" if c in "<>&`*_[]()!|\\#" else c for c in line)


def dataset_card(run: Run, repo_id: str, configs: dict[str, dict[str, list[Any]]], fingerprint: str) -> Any:
    """The dataset card, with the `configs` section that `push_to_hub` has written to the Hub kept."""
    from huggingface_hub import DatasetCard

    recipe = run.recipe
    dialogues = configs["dialogues"]["train"]
    outputs = run.outputs("generate")
    sources = sorted({t["source"] for rows in configs["tasks"].values() for t in rows})
    text = render(
        "dataset.md.jinja",
        repo_id=repo_id,
        recipe=recipe,
        fingerprint=fingerprint,
        recipe_fingerprint=run.manifest["fingerprint"],
        rows={f"{name}/{split}": len(rows) for name, splits in configs.items() for split, rows in splits.items()},
        columns={name: list(splits[next(iter(splits))][0]) for name, splits in configs.items() if splits},
        sources=sources,
        licenses=sorted({licence_of(s) for s in sources}),
        accuracy=[
            float(x) for x in solved_by_turn([d["solved_at"] for d in dialogues], recipe.dialogue.max_turns).mean(0)
        ],
        counts=outputs["counts"],
        guard=outputs["guard"],
        privileges=sorted({row["privilege"] for rows in configs.get("tasks", {}).values() for row in rows}),
        example=_example(dialogues),
        student=recipe.model.id or (recipe.hub.base if recipe.model.scratch else recipe.model.wheel),
        versions=run.manifest["versions"],
    )
    card = DatasetCard(text)
    published = DatasetCard.load(repo_id).data.to_dict()  # push_to_hub has listed configs and sizes there
    for key in ("configs", "dataset_info"):
        if key in published:
            setattr(card.data, key, published[key])
    # `push_to_hub(set_default=True)` fails on a repository whose only config is another one: say it here instead.
    for config in published.get("configs", []):
        config.pop("default", None)
        if config["config_name"] == "dialogues":
            config["default"] = True
    return card


def _example(dialogues: list[dict[str, Any]]) -> dict[str, Any] | None:
    """A dialogue that shows the data: solved late if there is one."""
    late = [d for d in dialogues if d["solved_at"] > 1]
    return next(iter(late or dialogues), None)


def base_card(run: Run, repo_id: str, parameters: int) -> Any:
    from huggingface_hub import ModelCard

    return ModelCard(
        render("base.md.jinja", repo_id=repo_id, recipe=run.recipe, parameters=parameters, run=run.manifest)
    )


def model_card(run: Run, repo_id: str) -> Any:
    """The adapter's card: method, data, results with controls, limits, exact revisions."""
    from huggingface_hub import ModelCard

    from rl2f_hub.evaluation.report import comparison_rows, markdown_table, table_rows

    metrics = json.loads(run.path("evaluation", "metrics.json").read_text())
    stages = run.manifest["stages"]
    base = stages["base"]["outputs"] or {"repo_id": run.recipe.model.id, "revision": run.recipe.model.revision}
    text = render(
        "model.md.jinja",
        repo_id=repo_id,
        recipe=run.recipe,
        recipe_fingerprint=run.manifest["fingerprint"],
        base=base,
        dataset=stages["publish"]["outputs"],
        results=markdown_table(table_rows(metrics)),
        comparisons=markdown_table(comparison_rows(metrics)),
        metrics=metrics,
        train=stages["train"]["outputs"],
        warmup=stages["warmup"]["outputs"],
        generated=stages["generate"]["outputs"],
        wall_s={name: entry["wall_s"] for name, entry in stages.items() if entry["status"] == "done"},
        hardware=run.manifest["hardware"],
        versions=run.manifest["versions"],
    )
    return ModelCard(text)
