"""One run, from a composed configuration to its record: the job, the group that trains, the folder, W&B, the console.

In: a composed configuration. Out: a run folder, read and written here alone.
Imports: base, compat, settings, config, datasets, models, training, metrics, evaluation, figures.
"""
