"""Data sets: arrays, and what a program and a reader must know about them.

In: settings, files, arrays. Out: a Dataset with its splits, and its Form, which is all that a program knows of it.
Imports: compat, base, settings.
"""
