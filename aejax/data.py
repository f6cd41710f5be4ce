"""python -m aejax.data: the data sets that there are. In Python: what a data set of one's own is made of."""

from aejax.cli.data import main
from aejax.datasets.dataset import Dataset, Split
from aejax.datasets.form import Arrays, Form
from aejax.datasets.splits import Splits

__all__ = ["Arrays", "Dataset", "Form", "Split", "Splits", "main"]

if __name__ == "__main__":
    main()
