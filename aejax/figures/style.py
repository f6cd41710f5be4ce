"""The look of all pictures."""

import textwrap

WIDTH = 6.75  # of a figure in inches, that of a page
TITLE = 8  # points, of the type of titles
LETTER = 5  # points, of the width of most of its letters
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "savefig.dpi": 200,
    "image.interpolation": "nearest",
    "pdf.fonttype": 42,  # which journals take, unlike Type 3
}


def titled(figure, title, **place):
    """Puts a title above all of a figure, on the left; lines that are wider than the figure lose their last words."""
    letters = int(figure.get_figwidth() * 72 / LETTER)
    shown = "\n".join(textwrap.shorten(line, letters, placeholder=" …") for line in title.splitlines())
    figure.suptitle(shown, x=0.01, ha="left", va="top", fontsize=TITLE, fontweight="bold", **place)
