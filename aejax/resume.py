"""python -m aejax.resume: resumes a run or a sweep that was interrupted."""

from aejax.cli.resume import main

if __name__ == "__main__":
    main()
