"""Warnings of libraries about themselves: what TRL, transformers and bitsandbytes say that no user of ours can act on."""

from __future__ import annotations

import logging
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
