"""Models: encoder, bottleneck, decoder, likelihood, noise, objective, and how parameters are solved for.

In: an experiment, parameters, examples. Out: codes, reconstructions, the objective's terms. Pure functions.
Imports: base, settings, metrics.
"""
