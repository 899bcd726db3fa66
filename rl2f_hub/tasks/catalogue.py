"""What is known of each source before anything is loaded: the rows of `rl2f tasks list` and the head of `show`."""

from __future__ import annotations

import re
from pathlib import Path

from rl2f_hub.errors import UsageError, did_you_mean
from rl2f_hub.tasks.presets import PRESETS

GENERAL = [
    (
        "reasoning_gym:<data set>",
        "logic, arithmetic, algebra, games, ...",
        "endless",
        "Apache-2.0",
        "reasoning_gym",
        "answer",
    ),
    ("textarena:<environment>", "games, negotiation", "endless", "MIT", "environment", "solution where there is one"),
    ("hub:<owner/name>", "any", "the data set's", "the data set's", "as the recipe says", "the columns it names"),
    (
        "csv:<path>, tsv:<path>, jsonl:<path>, parquet:<path>",
        "any",
        "the file's",
        "yours",
        "as the recipe says",
        "the columns it names",
    ),
    ("writing:hidden, writing:stated", "writing", "endless", "Apache-2.0", "writing", "requirements of one sentence"),
    ("python:<file>:<class>", "any", "yours", "yours", "python, or as the recipe says", "what the class gives"),
]
LICENSES = {"apache-2.0", "mit", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "bsd-3-clause"}
COLUMNS = ("source", "domain", "size", "licence", "verifier", "privilege", "note")


def catalogue() -> list[dict[str, str]]:
    """One row a source: presets first, then the general forms."""
    rows = [_preset_row(name) for name in PRESETS]
    return rows + [dict(zip(COLUMNS, (*row, ""), strict=True)) for row in GENERAL]


def members(kind: str) -> list[dict[str, str]]:
    """One row for every data set or environment of a kind.

    Raises:
        UsageError: a kind that has no list of members.
    """
    if kind == "reasoning_gym":
        from reasoning_gym.factory import DATASETS

        return [_reasoning_gym_row(name) for name in sorted(DATASETS)]
    if kind == "textarena":
        from rl2f_hub.tasks.textarena import SUPPORTED

        return [_textarena_row(name) for name in SUPPORTED]
    raise UsageError(f"kind: {kind!r} has no list of members; use reasoning_gym or textarena, or no kind at all")


def describe(source: str) -> dict[str, str]:
    """What is known of one source; empty for a general form without more to say.

    Raises:
        UsageError: unknown reasoning-gym data set or preset.
    """
    if source in PRESETS:
        return _preset_row(source)
    kind, _, name = source.partition(":")
    if kind == "reasoning_gym" and name:
        return _reasoning_gym_row(name)
    if kind == "textarena" and name:
        return _textarena_row(name)
    if not name:
        hint = did_you_mean(source, PRESETS) or "; see `rl2f tasks list`"
        raise UsageError(f"source: no preset {source!r}{hint}")
    return next(
        (dict(zip(COLUMNS, (source, *row[1:], ""), strict=True)) for row in GENERAL if row[0].startswith(kind + ":")),
        {},
    )


def public_source(source: str) -> str:
    """The name of a task's source without the folders of the machine that it was read on."""
    kind, colon, rest = source.partition(":")
    if not colon or kind not in ("jsonl", "csv", "tsv", "parquet", "python"):
        return source
    return f"{kind}:{Path(rest).name}"


def licence_of(source: str) -> str:
    """The licence of a task's source (as tasks name it, presets expanded), for the card of what is made from it."""
    preset = next((p for p in PRESETS.values() if p.source == source), None)
    if preset is not None:
        return f"{preset.licence} ({source})"
    kind = source.partition(":")[0]
    known = {"reasoning_gym": "Apache-2.0 (reasoning-gym, generated)", "textarena": "MIT (textarena, generated)"}
    known["writing"] = "Apache-2.0 (rl2f_hub, generated)"
    if kind == "hub":
        return f"see the card of {source.removeprefix('hub:')}"
    return known.get(kind, f"the author's own ({kind})")


def license_of_all(sources: list[str]) -> tuple[str, list[str]]:
    """(the Hub's identifier for a data set made of these sources, the licence of each in words)."""
    words = sorted({licence_of(source) for source in sources})
    found = {re.split(r"[ (]", word, maxsplit=1)[0].lower() for word in words}
    return (found.pop() if len(found) == 1 and found <= LICENSES else "other"), words


def _preset_row(name: str) -> dict[str, str]:
    p = PRESETS[name]
    note = f"expands to {p.source}. {p.note}".strip()
    verifier = str(p.fields.get("verifier", "text"))
    return dict(zip(COLUMNS, (name, p.domain, p.size, p.licence, verifier, p.privilege, note), strict=True))


def _textarena_row(name: str) -> dict[str, str]:
    from rl2f_hub.tasks.textarena.games import game_of

    game = game_of(name, "source")
    players = "one player" if game.players == 1 else "two players, a scripted opponent"
    config = f"; config: {', '.join(game.params)}" if game.params else ""
    note = f"{players}. {game.looks} The solution: {game.found}{config}"
    values = (f"textarena:{name}", game.domain, "endless or all there are", "MIT", "environment", "solution", note)
    return dict(zip(COLUMNS, values, strict=True))


def _reasoning_gym_row(name: str) -> dict[str, str]:
    import dataclasses

    from reasoning_gym.factory import DATASETS

    from rl2f_hub.tasks.reasoning_gym import domain_of, highest_level

    domain, highest = domain_of(name), highest_level(name)
    levels = "no levels" if highest is None else f"levels 0 to {highest}"
    fields = [f.name for f in dataclasses.fields(DATASETS[name][1]) if f.name not in ("seed", "size")]
    note = f"{levels}; config: {', '.join(fields)}"
    values = (f"reasoning_gym:{name}", domain, "endless", "Apache-2.0", "reasoning_gym", "answer", note)
    return dict(zip(COLUMNS, values, strict=True))
