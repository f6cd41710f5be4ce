"""python -m aejax.compare: many runs in one table. In Python: the same table as a DataFrame. Imports no jax."""

from aejax.cli.compare import main
from aejax.comparison.frame import Runs
from aejax.comparison.tables import load, table

__all__ = ["Runs", "load", "main", "table"]

if __name__ == "__main__":
    main()
