"""python -m aejax.serve: a trained run behind HTTP."""

from aejax.cli.serve import main

if __name__ == "__main__":
    main()
