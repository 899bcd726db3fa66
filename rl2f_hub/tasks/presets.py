"""Presets: well-known data sets by a short name, with their true column names, licence, size and verifier.

`expand` turns `source: gsm8k` into the `hub:` source behind it; whatever a recipe says beside `source` wins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.tasks.spec import SourceSpec


@dataclass(frozen=True, slots=True)
class Preset:
    """One data set. `fields` are the `SourceSpec` fields it sets; `source` is what it expands to."""

    source: str
    title: str
    domain: str
    size: str
    licence: str
    privilege: str
    fields: dict[str, Any] = field(default_factory=dict)
    note: str = ""


PRESETS: dict[str, Preset] = {}


def expand(spec: SourceSpec, at: str) -> SourceSpec:
    """The source behind a preset's name.

    Raises:
        UsageError: no such preset.
    """
    preset = PRESETS.get(spec.source)
    if preset is None:
        hint = did_you_mean(spec.source, PRESETS) or f"; known: {', '.join(PRESETS)}"
        raise UsageError(f"{at}.source: no preset {spec.source!r}{hint}; or write <kind>:<name>, see `rl2f tasks list`")
    given = {k: getattr(spec, k) for k in spec.model_fields_set - {"source"}}
    return spec.model_copy(update={**preset.fields, **given, "source": preset.source})
