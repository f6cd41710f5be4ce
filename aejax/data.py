"""python -m aejax.data: lists, describes and prepares data sets. In Python: the parts of your own data set."""

from aejax.cli.data import main
from aejax.datasets.dataset import Dataset, Split
from aejax.datasets.form import Arrays, Form
from aejax.datasets.splits import Splits

__all__ = ["Arrays", "Dataset", "Form", "Split", "Splits", "main"]

if __name__ == "__main__":
    main()
