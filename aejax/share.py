"""python -m aejax.share: packs a finished run as one zip archive, which aejax.load reads."""

from aejax.cli.share import main

if __name__ == "__main__":
    main()
