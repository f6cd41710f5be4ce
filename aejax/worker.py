"""python -m aejax.worker: trains one program of a sweep."""

from aejax.cli.worker import main

if __name__ == "__main__":
    main()
