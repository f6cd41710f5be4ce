"""python -m aejax.evaluate: finished runs measured again."""

from aejax.cli.evaluate import main

if __name__ == "__main__":
    main()
