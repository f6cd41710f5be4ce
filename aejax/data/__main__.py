"""python -m aejax.data list|info|prepare|preview."""

from aejax.catalogue import main

if __name__ == "__main__":
    main()
