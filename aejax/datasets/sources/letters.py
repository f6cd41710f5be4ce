"""27 letters, 5 wide and 7 high, binary: a to z and ñ, smallest Hamming distance 4. Drawn for this project."""

import numpy as np
from flax import struct

from aejax.datasets.dataset import Dataset, Split

ART = """
a      b      c      d      e      f      g      h      i
.....  #....  .....  ....#  .....  ..##.  .....  #....  ..#..
.....  #....  .....  ....#  .....  .#..#  .####  #....  .....
.###.  #.##.  .####  .##.#  .###.  .#...  #...#  #.##.  .##..
....#  ##..#  #....  #..##  #...#  ####.  #...#  ##..#  ..#..
.####  #...#  #....  #...#  #####  .#...  .####  #...#  ..#..
#...#  #...#  #....  #...#  #....  .#...  ....#  #...#  ..#..
.####  ####.  .####  .####  .###.  .#...  .###.  #...#  .###.

j      k      l      m      n      ñ      o      p      q
...#.  #....  .##..  .....  .....  .##.#  .....  .....  .....
.....  #....  ..#..  .....  .....  #.##.  .....  ####.  .####
..##.  #..#.  ..#..  ##.#.  ####.  .....  .###.  #...#  #...#
...#.  #.#..  ..#..  #.#.#  #...#  ####.  #...#  #...#  #...#
...#.  ##...  ..#..  #.#.#  #...#  #...#  #...#  ####.  .####
#..#.  #.#..  ..#..  #.#.#  #...#  #...#  #...#  #....  ....#
.##..  #..#.  ..##.  #.#.#  #...#  #...#  .###.  #....  ....#

r      s      t      u      v      w      x      y      z
.....  .....  .#...  .....  .....  .....  .....  .....  .....
.....  .....  .#...  .....  .....  .....  .....  #...#  .....
#.##.  .####  ####.  #...#  #...#  #...#  #...#  #...#  #####
##...  #....  .#...  #...#  #...#  #...#  .#.#.  .#.#.  ...#.
#....  .###.  .#...  #...#  .#.#.  #.#.#  ..#..  ..#..  ..#..
#....  ....#  .#..#  #...#  .#.#.  ##.##  .#.#.  .#...  .#...
#....  ####.  ..##.  .####  ..#..  #...#  #...#  #....  #####
"""


def glyphs(art=ART):
    """The letters of the drawing: names [N] and pixels [N, 7, 5, 1] uint8, 1 where there is a #."""
    names, pixels = [], []
    for block in art.strip("\n").split("\n\n"):
        header, *rows = block.split("\n")
        names += header.split()
        cells = np.array([[[mark == "#" for mark in cell] for cell in row.split()] for row in rows], np.uint8)
        pixels.append(cells.transpose(1, 0, 2))  # row, letter, column -> letter, row, column
    return names, np.concatenate(pixels)[..., None]


@struct.dataclass
class Letters:
    """The alphabet; training, validation and test examples are the same 27 glyphs."""

    def load(self):
        """The Dataset, binary, [27, 7, 5, 1]."""
        names, pixels = glyphs()
        split = Split(pixels, np.arange(len(names), dtype=np.int32))
        note = "training, validation and test examples are the same 27 glyphs, of which data.limit trains a part"
        return Dataset("letters", "binary", split, split, split, tuple(names), note, "part of aejax, MIT")
