"""Metrics: pure, jitted functions of arrays, which know no model, no data set and no experiment.

In: arrays. Out: scalars and arrays.
Imports: nothing of aejax.
"""
