"""Sweeps: composes many jobs, groups them into programs, trains them, keeps a ledger; grid and search.

In: the overrides of each job. Out: run folders and sweep.json.
Imports: base, compat, settings, config, training, runs.
"""
