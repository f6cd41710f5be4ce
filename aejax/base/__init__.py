"""The ground floor: what every other room needs, and what knows nothing of autoencoders.

In: paths, arrays, keys. Out: whole files, random keys, sums in parts, errors that fit in one line.
Imports: compat.
"""
