"""The folder conf/ and Hydra's words: the choices, hints for a wrong key, Hydra's errors in one line.

In: the files of conf/, the words of a command line. Out: a composed configuration, hints, errors in one line.
Imports: compat, base.
"""
