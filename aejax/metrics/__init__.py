"""Metrics: pure, jitted functions of arrays, which know no model, no data set and no experiment.

In: arrays. Out: scalars and arrays. `table` says what each metric is; it imports neither jax nor numpy.
Imports: nothing of aejax.
"""
