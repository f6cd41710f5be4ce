"""python -m aejax.resume: a run or a sweep that was cut off goes on where it was."""

from aejax.cli.resume import main

if __name__ == "__main__":
    main()
