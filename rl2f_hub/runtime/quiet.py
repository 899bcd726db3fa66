"""What libraries say about themselves (TRL, transformers, bitsandbytes, ...) that no user of ours can act on."""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings

PATTERNS: tuple[tuple[str, type[Warning]], ...] = (
    (r"You are using 'rollout_func'", UserWarning),  # it is pinned by tests/test_seams.py
    (r"You are importing from 'trl\.experimental'", UserWarning),
    (r"`(is_)?gradient_checkpointing(_enable|_disable|_kwargs)?` is deprecated", FutureWarning),  # TRL's own use
)


def ignore_library_warnings() -> None:
    """Filters those warnings, by their texts, for this process; any other goes through."""
    for message, category in PATTERNS:
        warnings.filterwarnings("ignore", message=message, category=category)
    logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(_without_gemm)


def _without_gemm(record: logging.LogRecord) -> bool:
    return "gemm_4bit" not in str(record.msg)


def quiet_libraries() -> None:
    """The libraries' own bars and advice off: every stage has one bar, and errors are ours to word."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    import datasets
    import huggingface_hub

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    huggingface_hub.logging.set_verbosity_error()
    if importlib.util.find_spec("torch") is not None:  # publishing needs neither torch nor transformers
        import transformers

        transformers.utils.logging.disable_progress_bar()
        transformers.utils.logging.set_verbosity_error()
