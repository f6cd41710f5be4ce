"""python -m aejax.export: encoder and decoder of a run as files for programs without aejax."""

from aejax.cli.export import main

if __name__ == "__main__":
    main()
