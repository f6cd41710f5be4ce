"""python -m aejax.evaluate: evaluates finished runs again."""

from aejax.cli.evaluate import main

if __name__ == "__main__":
    main()
