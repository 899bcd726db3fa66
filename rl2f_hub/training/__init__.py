"""Training: dialogues become a loss (`trainer.py`), phases become a stage (`rl.py`, `warmup.py`), baselines share the code."""
