"""Configurations of models that recipes name, for estimates and random weights without a download: shapes only."""

from __future__ import annotations

from typing import Any


def qwen3(size: str) -> dict[str, Any]:
    """Qwen3-1.7B, 4B or 8B as a `config.json`."""
    shapes = {"1.7b": (2048, 28, 16, 6144, True), "4b": (2560, 36, 32, 9728, True), "8b": (4096, 36, 32, 12288, False)}
    hidden, layers, heads, intermediate, tied = shapes[size]
    return {
        "model_type": "qwen3",
        "vocab_size": 151_936,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": intermediate,
        "tie_word_embeddings": tied,
        "max_position_embeddings": 40_960,
    }


def qwen25_1_5b() -> dict[str, Any]:
    return {
        "model_type": "qwen2",
        "vocab_size": 151_936,
        "hidden_size": 1536,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "intermediate_size": 8960,
        "tie_word_embeddings": True,
        "max_position_embeddings": 32_768,
    }


def gemma3_12b() -> dict[str, Any]:
    """The language model of Gemma 3 12B; the vision tower (0.4 billion parameters) is left out."""
    return {
        "model_type": "gemma3_text",
        "vocab_size": 262_208,
        "hidden_size": 3840,
        "num_hidden_layers": 48,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 256,
        "intermediate_size": 15_360,
        "sliding_window": 1024,
        "max_position_embeddings": 131_072,
    }
