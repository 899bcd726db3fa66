"""What dialogues are worth: suites with controls, metrics by turn with intervals, comparisons, reports.

Data flows: suites.py (who answers the student, playing) with probes.py (teachers of an evaluation) and plasticity.py ->
dialogue rows -> metrics.py, sycophancy.py, self_critic.py (figures as ratios) with intervals.py (one bootstrap) ->
summary.py (`metrics.json`) -> report.py, figures.py, written.py, hub_form.py, logs.py. driver.py plays and sums up the
parts that stage.py lists for the students of a run, and models.py for any models; cli/evaluate.py is `rl2f eval`.
"""
