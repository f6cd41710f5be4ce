"""What `wandb leet` shows of a sweep, as a picture.

pip install pyte; python docs/leet.py SWEEP/wandb docs/leet.svg
"""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

COLUMNS, LINES = 140, 40
SECONDS = 12  # to read all runs
DOWN_AND_SELECT = b"\x1b[B "
ANSWERS = {b"\x1b[6n": b"\x1b[1;1R", b"\x1b]11;?": b"\x1b]11;rgb:0000/0000/0000\x07", b"\x1b[c": b"\x1b[?62;c"}


def main(folder, picture):
    """Draws the screen once every run is selected."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        os.execvp("wandb", ["wandb", "leet", folder])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    show(terminal, stream, SECONDS)
    for _ in list(Path(folder).glob("offline-run-*"))[1:]:
        os.write(terminal, DOWN_AND_SELECT)
        show(terminal, stream, 1)
    show(terminal, stream, 3)
    os.write(terminal, b"q")
    os.waitpid(process, 0)
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    for line in range(LINES - 1):  # the last one tells the folder
        cells = [screen.buffer[line][column] for column in range(COLUMNS)]
        console.print(Text.assemble(*((cell.data, style(cell)) for cell in cells)))
    drawn = console.export_svg(title="wandb leet")
    Path(picture).write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))  # these ask the network


def show(terminal, stream, seconds):
    """Takes what the program draws within these seconds, and answers what it asks of its terminal."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            drawn = os.read(terminal, 65536)
            stream.feed(drawn)
            for question, answer in ANSWERS.items():
                if question in drawn:
                    os.write(terminal, answer)


def style(cell):
    """A cell's look."""
    color, ground = (f"#{name}" if re.fullmatch("[0-9a-f]{6}", name) else None for name in (cell.fg, cell.bg))
    return Style(color=color, bgcolor=ground, bold=cell.bold, reverse=cell.reverse)


if __name__ == "__main__":
    main(*sys.argv[1:])
