"""What a checkpoint of RL2FTrainer holds beside TRL's own files: counters to go on with, and whose checkpoint it is.

One that is saved within a generation (its dialogues serve several updates) holds them too, a file a process: played
again, they would be those of another policy.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.runs import write_atomic

STATE_FILE = "rl2f_state.json"
GENERATION_FILE = "rl2f_generation_{}.pt"  # of a process


def write_state(checkpoint: Path, owner: dict[str, Any], counts: dict[str, Any]) -> None:
    """Writes `counts` under the settings `owner`, without which they mean something else."""
    write_atomic(checkpoint / STATE_FILE, json.dumps({"owner": owner, **counts}))


def read_state(checkpoint: Path, owner: dict[str, Any]) -> dict[str, Any]:
    """The counts of a checkpoint.

    Raises:
        UsageError: it was made with other tasks or other dialogues than `owner` says, or by another trainer.
        RL2FError: the file is broken.
    """
    file = checkpoint / STATE_FILE
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        made: dict[str, Any] = state.pop("owner")
    except FileNotFoundError:
        raise UsageError(
            f"resume_from_checkpoint: {checkpoint} has no {STATE_FILE}: it is not a checkpoint of RL2FTrainer; load its "
            "weights as `model` instead"
        ) from None
    except (OSError, ValueError, KeyError, AttributeError):
        raise RL2FError(f"{file}: cannot be read; resume from an earlier checkpoint") from None
    for name, value in owner.items():
        if made.get(name) != value:
            raise UsageError(
                f"resume_from_checkpoint: {checkpoint} was made with {name} {made.get(name)!r}, this run has {value!r}; "
                "use the same settings or start afresh"
            )
    return state


def write_generation(checkpoint: Path, process: int, parts: list[Any]) -> None:
    """Keeps the batches of tensors that a generation was split into."""
    import torch

    torch.save(parts, checkpoint / GENERATION_FILE.format(process))


def read_generation(checkpoint: Path, process: int, device: Any) -> list[Any]:
    """What `write_generation` kept, on `device`.

    Raises:
        RL2FError: the file is missing or broken.
    """
    import torch

    file = checkpoint / GENERATION_FILE.format(process)
    try:
        parts: list[Any] = torch.load(file, map_location=device, weights_only=True)
    except Exception as error:  # whatever the unpickler says of a stranger's bytes
        raise RL2FError(
            f"{file}: cannot be read ({type(error).__name__}), and the checkpoint lies within a generation; resume on as "
            "many processes as before, or from another checkpoint"
        ) from None
    return parts
