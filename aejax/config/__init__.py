"""The folder conf/ and Hydra's words: what there is to choose, what a wrong key may have meant, what Hydra says.

In: conf/ as it is written, the words of a command line. Out: a composed configuration, hints, errors in one line.
Imports: compat, base.
"""
