"""The commands, one module each.

In: the words of a command line. Out: files, printed lines and an exit status; errors in one line.
Imports: compat, base, settings, config, datasets, training, evaluation, figures, runs, inference, compression,
serving, sweeps, comparison.
"""
