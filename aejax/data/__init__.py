"""Data sets: arrays with what must be known about them."""

from aejax.data.dataset import Arrays, Dataset, Form, Split
from aejax.data.splits import Splits

__all__ = ["Arrays", "Dataset", "Form", "Split", "Splits"]
