"""Finished runs put to use: examples in, codes, images and scores out; the run's folder is enough.

In: the folder of a run or a zip archive of it, arrays. Out: numpy arrays.
Imports: base, compat, settings, datasets, metrics, models, training, evaluation, runs.
"""
