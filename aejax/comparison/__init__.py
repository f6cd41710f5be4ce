"""Many runs in one table: means with intervals, which differences are real, charts, the report. Imports no jax.

In: folders of runs, W&B projects. Out: tables, text, pages.
Imports: base, compat, metrics, runs.
"""
