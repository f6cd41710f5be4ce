"""python -m aejax.apply: a trained run in use, from files to files."""

from aejax.cli.apply import main

if __name__ == "__main__":
    main()
