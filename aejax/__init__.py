"""aejax trains and compares autoencoders."""

__version__ = "0.1.0"
