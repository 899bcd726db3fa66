"""Model-written code in isolation."""
