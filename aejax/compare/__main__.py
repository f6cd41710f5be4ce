"""python -m aejax.compare DIR…: which autoencoder, on which data, and is the difference real?"""

from aejax.compare.command import main

if __name__ == "__main__":
    main()
