"""The paper's claims repeated in small: a plan of runs, the claims computed from their dialogues, and the page about them.

`plan` says which runs there are, `work` does them (each an ordinary `Run`, every stage the pipeline's own), `claims`
turns their dialogues into tables with intervals and verdicts, `page` writes README.md and figures from `results.json`.
"""
