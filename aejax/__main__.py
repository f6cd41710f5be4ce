"""python -m aejax: compose a configuration and run it."""

from aejax.command import main

if __name__ == "__main__":
    main()
