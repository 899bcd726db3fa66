"""The results of the published evaluation, read from the adapter's own repository (or folder) and drawn as page pieces.

`metrics.json` may hold more than is shown here and lack what is; what is missing is not drawn. Its text is untrusted.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from rl2f_hub.demo.draw import curve, plain
from rl2f_hub.errors import RL2FError
from rl2f_hub.evaluation.report import LABELS, TITLES

METRICS = "metrics.json"
MAX_BYTES = 5_000_000


def read_results(model_id: str, revision: str | None = None) -> dict[str, Any]:
    """The metrics of a model's repository or folder.

    Raises:
        RL2FError: there are none, they cannot be read, or the Hub cannot be asked.
    """
    folder = Path(model_id)
    try:
        if folder.is_dir():
            file = folder / METRICS
        else:
            from huggingface_hub import hf_hub_download

            file = Path(hf_hub_download(model_id, METRICS, revision=revision))
        if file.stat().st_size > MAX_BYTES:
            raise RL2FError(f"{METRICS} of {model_id} is too large to show")
        read = json.loads(file.read_text())
    except RL2FError:
        raise
    except Exception as error:  # whatever the Hub or a foreign file may do, the page goes on
        raise RL2FError(f"{model_id} has no evaluation to show ({type(error).__name__})") from None
    if not isinstance(read, dict) or not isinstance(read.get("students"), dict):
        raise RL2FError(f"{METRICS} of {model_id} is not an evaluation of ours")
    return read


def tour(metrics: dict[str, Any], where: str) -> str:
    """Figures and tables as HTML."""
    students = {k: v for k, v in metrics["students"].items() if isinstance(v, dict)}
    figures = []
    for suite, title in TITLES.items():
        series = {LABELS.get(n, n): _shares(s.get(suite, {})) for n, s in students.items()}
        series = {name: values for name, values in series.items() if values}
        if series:
            count = next((s[suite].get("n") for s in students.values() if suite in s), None)
            figures.append(curve(series, title[:1].upper() + title[1:], f"n = {count} tasks" if count else ""))
    if not figures:
        return f'<p class="rl2f-hint">The evaluation of {plain(where)} has no accuracy by turn to show.</p>'
    last = metrics.get("train_max_turns")
    note = f" It was trained with up to {last} attempts." if isinstance(last, int) else ""
    return (
        f'<p class="rl2f-hint">Share of held-out tasks solved by each attempt, greedy decoding; '
        f"from {METRICS} of <code>{plain(where)}</code>.{note}</p>"
        f'<div class="rl2f-results">{"".join(figures)}</div>{_differences(metrics)}'
    )


def _shares(entry: Any) -> list[float]:
    values = entry.get("acc_at_turn") if isinstance(entry, dict) else None
    if not isinstance(values, list) or not all(_is_share(v) for v in values):
        return []
    return [float(v) for v in values[:20]]


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1


def _differences(metrics: dict[str, Any]) -> str:
    rows = []
    compared = metrics.get("comparisons")
    for name, entry in (compared if isinstance(compared, dict) else {}).items():
        try:
            low, high = (float(x) for x in entry["ci95"])
            cells = f"<td>{100 * float(entry['difference']):+.1f}</td><td>{100 * low:+.1f} to {100 * high:+.1f}</td>"
        except (KeyError, TypeError, ValueError):
            continue
        rows.append(f"<tr><td>{plain(str(name).replace('_', ' '))}</td>{cells}</tr>")
    if not rows:
        return ""
    return (
        '<div class="rl2f-scroll" tabindex="0" role="region" aria-label="Differences"><table class="rl2f-table"><thead><tr>'
        f"<th>Difference, paired over tasks</th><th>points</th><th>95 %</th></tr></thead><tbody>{''.join(rows)}</tbody>"
        "</table></div>"
    )
