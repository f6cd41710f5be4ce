"""Private and undocumented parts of the libraries, one module a library: all that aejax uses of them stands here.

In: the libraries' own objects. Out: what a public interface would give, if there were one. tests/unit/test_compat.py
holds each function against the installed version.
Imports: nothing of aejax.
"""
