"""Tasks from textarena."""
