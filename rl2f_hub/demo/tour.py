"""The results of the published evaluation, read from the adapter's own repository (or folder) and drawn as page pieces.

`metrics.json` may hold more than is shown here and lack what is; what is missing is not drawn. Its text is untrusted.
"""

from __future__ import annotations

import base64
import json
import logging
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rl2f_hub.demo.draw import curve, plain
from rl2f_hub.errors import RL2FError
from rl2f_hub.evaluation.report import LABELS, TITLES

log = logging.getLogger(__name__)
METRICS = "metrics.json"
MAX_BYTES = 5_000_000
MAX_SIDE = 4_000  # pixels
FIGURES = {
    "accuracy_by_turn.png": "Accuracy by attempt with intervals",
    "controls.png": "Controls beside the teacher",
    "plasticity.png": "How attempts change after feedback",
}
ENDINGS = {
    "_last_turn": "last attempt",
    "_turn_1": "first attempt",
    "_gain_over_turns_minus_try_again": "gain by the teacher's words over “try again”",
}


def read_results(model_id: str, revision: str | None = None) -> dict[str, Any]:
    """The metrics of a model's repository or folder.

    Raises:
        RL2FError: there are none, they cannot be read, or the Hub cannot be asked.
    """
    try:
        file = _file(model_id, METRICS, revision)
        if file.stat().st_size > MAX_BYTES:
            raise RL2FError(f"{METRICS} of {model_id} is too large to show")
        read = json.loads(file.read_text(encoding="utf-8"))
    except RL2FError:
        raise
    except Exception as error:  # whatever the Hub or a foreign file may do, the page goes on
        raise RL2FError(f"{model_id} has no evaluation to show ({type(error).__name__})") from None
    if not isinstance(read, dict) or not isinstance(read.get("students"), dict):
        raise RL2FError(f"{METRICS} of {model_id} is not an evaluation of ours")
    return read


def read_figures(model_id: str, revision: str | None = None) -> dict[str, bytes]:
    """The figures that the evaluation left beside its metrics, by name; what is missing or is no such picture is not."""
    found = {}
    for name in FIGURES:
        try:
            with _file(model_id, name, revision).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except Exception as error:  # as above, and figures are extras
            log.debug("no figure %s: %s", name, type(error).__name__)
            continue
        if _is_picture(content):
            found[name] = content
    return found


def _is_picture(content: bytes) -> bool:
    """Whether it is a PNG that a page can hold: its head says how large it would become."""
    if len(content) > MAX_BYTES or content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR":
        return False
    width, height = struct.unpack(">II", content[16:24])
    return 0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE


def _file(model_id: str, name: str, revision: str | None) -> Path:
    folder = Path(model_id)
    if folder.is_dir():
        return folder / name
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(model_id, name, revision=revision))


def tour(metrics: dict[str, Any], where: str, pictures: Mapping[str, bytes] = MappingProxyType({})) -> str:
    """Figures and tables as HTML; `pictures` are part of the page, nothing is fetched for them."""
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
        f'<div class="rl2f-results">{"".join(figures)}</div>{_differences(metrics)}{_pictures(pictures)}'
    )


def _pictures(pictures: Mapping[str, bytes]) -> str:
    if not pictures:
        return ""
    drawn = "".join(
        f'<img src="data:image/png;base64,{base64.b64encode(content).decode()}" alt="{FIGURES[name]}">'
        for name, content in pictures.items()
    )
    return f'<details class="rl2f-figures"><summary>Figures of the evaluation, as published</summary>{drawn}</details>'


def _shares(entry: Any) -> list[float]:
    values = entry.get("acc_at_turn") if isinstance(entry, dict) else None
    if not isinstance(values, list) or not all(_is_share(v) for v in values):
        return []
    return [float(v) for v in values[:20]]


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1


def _difference(name: str) -> str:
    """What a comparison compares, in words."""
    unseen, name = name.startswith("ood_"), name.removeprefix("ood_")
    for ending, words in ENDINGS.items():
        if name.endswith(ending):
            who, _, other = name.removesuffix(ending).partition("_minus_")
            sides = " minus ".join(LABELS.get(side, side.replace("_", " ")) for side in (who, other) if side)
            return f"{sides}, {words}{', unseen families' if unseen else ''}"
    return name.replace("_", " ")


def _differences(metrics: dict[str, Any]) -> str:
    rows = []
    compared = metrics.get("comparisons")
    for name, entry in (compared if isinstance(compared, dict) else {}).items():
        try:
            low, high = (float(x) for x in entry["ci95"])
            cells = f"<td>{100 * float(entry['difference']):+.1f}</td><td>{100 * low:+.1f} to {100 * high:+.1f}</td>"
        except (KeyError, TypeError, ValueError):
            continue
        rows.append(f"<tr><td>{plain(_difference(str(name)))}</td>{cells}</tr>")
    if not rows:
        return ""
    return (
        '<div class="rl2f-scroll" tabindex="0" role="region" aria-label="Differences"><table class="rl2f-table"><thead><tr>'
        f"<th>Difference, paired over tasks</th><th>points</th><th>95 %</th></tr></thead><tbody>{''.join(rows)}</tbody>"
        "</table></div>"
    )
