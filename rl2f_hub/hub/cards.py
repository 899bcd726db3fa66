"""Cards of datasets and models, from `cards/*.md.jinja` and the run's own figures.

Numbers come from the manifest, the index of the data set and the metrics file only; what was not measured says so. Text
from tasks, models and recipes is escaped, since a card is Markdown that others will render. Every section stands
between invisible marks (card_merge.py), so that a card that its owner edits on the Hub keeps those edits. Links lead to
exact revisions.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

from rl2f_hub.errors import RL2FError
from rl2f_hub.hub.card_merge import sealed
from rl2f_hub.runs import Run
from rl2f_hub.tasks.catalogue import licence_of

NOT_MEASURED = "not measured"
# Licences of sources that have an identifier on the Hub; anything else makes the data set's licence `other`.
LICENSES = {"apache-2.0", "mit", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "bsd-3-clause"}
PAPER = "2602.16066"
KINDS = {"model": "", "dataset": "datasets/", "space": "spaces/"}


def templates() -> Path:
    """The folder of card templates: beside the package in a checkout, inside it once installed."""
    for folder in (Path(__file__).parents[1] / "_cards", Path(__file__).parents[2] / "cards"):
        if folder.is_dir():
            return folder
    raise RL2FError("cards/: the templates are missing; reinstall rl2f-hub")


def render(name: str, **values: Any) -> str:
    """A template rendered in Jinja's sandbox; an undefined name is an error."""
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        loader=FileSystemLoader(templates()), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = plain
    environment.filters["code"] = code
    environment.filters["percent"] = lambda x: NOT_MEASURED if x is None else f"{100 * x:.1f} %"
    return environment.get_template(name).render(**values)


def plain(text: Any, limit: int = 300) -> str:
    """Outside text for Markdown: one line, no markup, no HTML, no links, nothing invisible, cut to `limit` characters."""
    line = _printable(text, limit)
    line = re.sub(r"(?i)w(?=ww\.)|:(?=//)", "\\g<0>\u2060", line)  # viewers make links of bare addresses
    return "".join(f"&#{ord(c)};" if c in "<>&`*_[]()!|\\#{}~" else c for c in line)


def code(text: Any, limit: int = 200) -> str:
    """Outside text for a code span in a table or a line: nothing that could end either."""
    return "".join(c for c in _printable(text, limit) if c not in "`|<>")


def _printable(text: Any, limit: int) -> str:
    """One line without control characters and without what turns or hides the text around it."""
    return " ".join("".join(c for c in str(text) if c.isprintable() or c.isspace()).split())[:limit]


def address(endpoint: str, kind: str, repo_id: str, revision: str | None = None) -> str:
    """Where a revision of a repository is shown. On this machine without the host: its port is another one tomorrow."""
    host = "" if re.match(r"https?://(127\.|localhost|\[::1\])", endpoint) else endpoint.rstrip("/")
    host = re.sub(r"//[^/@]*@", "//", host)  # a user and a password are no part of a link
    return f"{host}/{KINDS[kind]}{repo_id}" + (f"/tree/{revision}" if revision else "")


def linked(endpoint: str, kind: str, repo_id: str, revision: str | None) -> str:
    """A Markdown link to a repository at a revision."""
    at = f" at `{revision}`" if revision else f" (revision {NOT_MEASURED.replace('measured', 'recorded')})"
    return f"[`{code(repo_id)}`]({address(endpoint, kind, repo_id, revision)}){at}"


def wilson(k: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's 95 % interval of the share k/n; (0, 1) without observations."""
    if not n:
        return 0.0, 1.0
    centre, spread = (k + z * z / 2) / (n + z * z), z * math.sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    return max(0.0, centre - spread), min(1.0, centre + spread)


def license_of_all(sources: list[str]) -> tuple[str, list[str]]:
    """(the Hub's identifier for a data set made of these sources, the licence of each in words)."""
    words = sorted({licence_of(source) for source in sources})
    found = {re.split(r"[ (]", word, maxsplit=1)[0].lower() for word in words}
    return (found.pop() if len(found) == 1 and found <= LICENSES else "other"), words


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


def public_model(name: str) -> str:
    """A model's Hub id, or the last part of a folder's path: where it lay on this machine is nobody's business."""
    return name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith((".", "~")) else Path(name).name


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


def base_card(run: Run, repo_id: str, parameters: int) -> str:
    """The sealed card of a base model that a run made or converted."""
    return sealed(render("base.md.jinja", repo_id=repo_id, recipe=run.recipe, parameters=parameters))


def read_metrics(run: Run) -> dict[str, Any]:
    return json.loads(run.path("evaluation", "metrics.json").read_text(encoding="utf-8"))


def main_results(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The trained student's accuracy at the last training turn, one entry a suite: {suite, turn, value, low, high, n}."""
    turn = metrics["train_max_turns"]
    return [
        {
            "suite": suite,
            "turn": turn,
            "value": entry["acc_at_turn"][turn - 1],
            "low": entry["ci95"][turn - 1][0],
            "high": entry["ci95"][turn - 1][1],
            "n": entry["n"],
            "decoding": entry.get("decoding", "greedy"),
        }
        for suite, entry in metrics["students"].get("rl2f", {}).items()
        if isinstance(entry, dict) and len(entry.get("acc_at_turn", ())) >= turn
    ]


def sycophancy(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """How often students held on to a right answer that was doubted: {student, suite, held, low, high, n}, measured ones only."""
    out = []
    for student, suites in metrics["students"].items():
        for suite, entry in suites.items():
            if isinstance(entry, dict) and entry.get("held_rate") is not None:
                low, high = entry.get("held_ci95") or (None, None)
                out.append({"student": student, "suite": suite, "held": entry["held_rate"], "low": low, "high": high})
                out[-1]["n"] = entry.get("doubted")
    return out


def model_card(
    run: Run, repo_id: str, *, base: dict[str, Any], endpoint: str, merged_from: tuple[str, str] | None = None
) -> str:
    """The sealed card of an adapter, or of a merged model: method, data, results with controls, limits, exact revisions.

    Args:
        base: {repo_id, revision} of the base model.
        merged_from: (repo_id, revision) of the adapter that a merged model came from.
    """
    from huggingface_hub import EvalResult, ModelCard

    from rl2f_hub.evaluation.report import comparison_rows, markdown_table, table_rows

    metrics = read_metrics(run)
    stages = run.manifest["stages"]
    dataset, generated = stages["publish"]["outputs"], stages["generate"]["outputs"]
    sources = sorted({report["source"] for report in run.manifest.get("tasks", ()) if report["split"] != "pretrain"})
    text = render(
        "model.md.jinja",
        repo_id=repo_id,
        recipe=run.recipe,
        recipe_fingerprint=run.manifest["fingerprint"],
        base=base,
        base_link=linked(endpoint, "model", base["repo_id"], base["revision"]),
        dataset=dataset,
        dataset_link=linked(endpoint, "dataset", dataset["repo_id"], dataset["revision"]),
        merged_from=merged_from and linked(endpoint, "model", *merged_from),
        results=markdown_table(table_rows(metrics)),
        comparisons=markdown_table(comparison_rows(metrics)),
        sycophancy=sycophancy(metrics),
        train=stages["train"]["outputs"],
        warmup=stages["warmup"]["outputs"],
        generated=generated,
        leak_rate=_share(generated["counts"].get("leaked_turns", 0), generated["counts"].get("feedback_turns", 0)),
        privilege=run.recipe.teacher.privilege,
        licences=license_of_all(sources)[1] if sources else [],
        wall_s={name: entry["wall_s"] for name, entry in stages.items() if entry["status"] == "done"},
        peak_rss_mib=max((e.get("peak_rss_mib", 0) for n, e in stages.items() if n != "push"), default=0) or None,
        hardware=run.manifest["hardware"],
        versions=run.manifest["versions"],
        co2_g=run.recipe.hub.co2_g,
        paper=PAPER,
    )
    card: Any = ModelCard(text)
    card.data.model_name = repo_id.split("/")[1]
    card.data.eval_results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=dataset["repo_id"],
            dataset_name=f"{dataset['repo_id'].split('/')[1]}, {result['suite']}",
            dataset_config="tasks",
            dataset_split="ood" if result["suite"].startswith("ood_") else "eval",
            dataset_revision=dataset["revision"],
            metric_type="accuracy",
            metric_name=f"solved by turn {result['turn']}, {result['suite']}, {result['decoding']}",
            metric_value=round(100 * result["value"], 2),
        )
        for result in main_results(metrics)
    ] or None
    return sealed(str(card))


def _share(k: int, n: int) -> float | None:
    return k / n if n else None
