"""python -m aejax: composes a configuration and runs it."""

import sys
from pathlib import Path

if not __package__:  # run by its path, as Hydra's help prints it: the modules beside it would hide Python's
    sys.path[0] = str(Path(__file__).parents[1])

from aejax.cli.train import main

if __name__ == "__main__":
    main()
