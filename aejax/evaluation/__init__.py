"""The protocol: how every model is measured, with the same data, draws and constants.

In: an experiment, its parameters, arrays. Out: metrics, codes, details; why a metric is null.
Imports: base, settings, datasets, models, metrics.
"""
