"""Training as pure functions of one experiment, and the lanes around them.

In: experiments, arrays. Out: compiled programs, their State, checkpoints; which jobs share a program.
Imports: compat, base, settings, models.
"""
