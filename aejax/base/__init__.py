"""What every other package needs, and what knows nothing about autoencoders.

In: paths, arrays, keys. Out: files written whole, random keys, sums over chunks, errors in one line.
Imports: compat.
"""
