"""What the scripted teacher says about a sentence: first what keeps it from being one, else one requirement not met.

In the strength `full` it asks for the requirement in plain words; `place` says where to look; `direction` only that
something is missing.
"""

from __future__ import annotations

import json
import random

from rl2f_hub.tasks.writing.requirements import Requirement
from rl2f_hub.teachers.marks import Finding

_PLACES = {
    "include": "Something is missing in it.",
    "colour": "It could say what something looks like.",
    "number": "It could say how many there are.",
    "name": "Somebody should be in it by name.",
    "question": "Look at how it ends.",
    "exclamation": "Look at how it ends.",
    "last_word": "Look at its last word.",
    "first_word": "Look at its first word.",
    "max_words": "Look at its length.",
    "min_words": "Look at its length.",
    "avoid": "One of its words should not be there.",
}


def mark_writing(observation: str, rng: random.Random, phrasings: int) -> Finding:
    """What to say about a sentence, from the verdict's observation. `phrasings`: how many ways of asking are used."""
    shown = json.loads(observation)
    if shown["objections"]:
        said = shown["objections"][0]
        return Finding("sentence", said, said, said)
    kind, value = shown["unmet"][0] if phrasings == 1 else rng.choice(shown["unmet"])
    full = Requirement(kind, value).asked_for(rng, phrasings)
    return Finding("requirement", "Not yet: something that I want is still missing.", _PLACES[kind], full)
