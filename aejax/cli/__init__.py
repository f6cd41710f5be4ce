"""The commands, one module each: words in, exit status out.

In: the words of a command line. Out: what the rooms below make of them; errors in one line.
Imports: compat, base, settings, config, datasets, training, evaluation, figures, runs, sweeps, comparison.
"""
