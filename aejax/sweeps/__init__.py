"""Sweeps: many jobs composed, grouped into programs, trained by `runs`, noted in a ledger; and the search.

In: the overrides of each job. Out: run folders and sweep.json.
Imports: base, compat, settings, config, training, runs.
"""
