"""python -m aejax.evaluate RUN… [what=[…]]."""

from aejax.reevaluation import main

if __name__ == "__main__":
    main()
