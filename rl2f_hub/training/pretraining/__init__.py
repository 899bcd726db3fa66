"""Base models from scratch: tokenizer, lessons, pre-training."""
