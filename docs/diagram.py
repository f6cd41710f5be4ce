"""docs/architecture.svg: what happens to a command, room by room.   python docs/diagram.py"""

from html import escape
from pathlib import Path

PICTURE = Path(__file__).with_name("architecture.svg")
WIDTH, HEIGHT, BOX, TALL = 960, 490, 200, 96
LEFTS = (20, 260, 500, 740)
ROWS = {"what you ask for": 40, "what runs": 190, "what remains": 340}
COLORS = {"what you ask for": "#e8eaf6", "what runs": "#e0f2f1", "what remains": "#fff3e0"}
BOXES = (  # (row, column, title, lines)
    ("what you ask for", 0, "command", ("model=vae data=emoji", "'seed=range(16)'")),
    ("what you ask for", 1, "config/", ("composes conf/ and the", "command line")),
    ("what you ask for", 2, "settings/  datasets/", ("checks every value,", "loads and splits data")),
    ("what you ask for", 3, "jobs", ("one, or all of sweeps/;", "each an Experiment")),
    ("what runs", 3, "training/plan", ("groups jobs of", "equal structure")),
    ("what runs", 2, "training/  models/", ("one program per group,", "one lane per job")),
    ("what runs", 1, "evaluation/  metrics/", ("measures all lanes", "by one protocol")),
    ("what runs", 0, "figures/", ("draws reconstructions,", "codes, samples")),
    ("what remains", 0, "runs/", ("a folder per run,", "mirrored to W&B")),
    ("what remains", 1, "comparison/", ("tables, statistics,", "report, dashboards")),
    ("what remains", 2, "inference/", ("encode, restore, sample,", "score, export")),
    ("what remains", 3, "compression/  serving/", ("small files of examples,", "HTTP and a page")),
)
ARROWS = (  # between the middles of sides: (row, column) -> (row, column)
    *(((0, column), (0, column + 1)) for column in range(3)),
    ((0, 3), (1, 3)),
    *(((1, column), (1, column - 1)) for column in (3, 2, 1)),
    ((1, 0), (2, 0)),
    ((2, 0), (2, 1)),
    ((2, 2), (2, 3)),
)
AROUND = ((2, 0), (2, 2))  # an arrow below the boxes between these


def main():
    """Writes the picture."""
    tops = list(ROWS.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="15">',
        "<title>From a command to a comparison, room by room</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="white"/>',
    ]
    for name, top in ROWS.items():
        parts.append(f'<text x="{LEFTS[0]}" y="{top - 12}" fill="#555" font-size="13">{name}</text>')
    for row, column, title, lines in BOXES:
        left, top = LEFTS[column], ROWS[row]
        middle = left + BOX / 2
        color = COLORS[row]
        parts.append(f'<rect x="{left}" y="{top}" width="{BOX}" height="{TALL}" rx="6" fill="{color}" stroke="#555"/>')
        parts.append(text(middle, top + 28, title, 'font-weight="bold"'))
        parts += [text(middle, top + 54 + 22 * place, line) for place, line in enumerate(lines)]
    for (row, column), (to_row, to_column) in ARROWS:
        if row == to_row:
            side = 1 if to_column > column else -1
            y = tops[row] + TALL / 2
            start, end = (LEFTS[column] + BOX / 2 + side * BOX / 2, y), (LEFTS[to_column] + BOX / 2 - side * BOX / 2, y)
        else:
            x = LEFTS[column] + BOX / 2
            start, end = (x, tops[row] + TALL), (x, tops[to_row])
        parts.append(
            f'<line x1="{start[0]:g}" y1="{start[1]:g}" x2="{end[0]:g}" y2="{end[1]:g}" stroke="#555" '
            'stroke-width="1.5" marker-end="url(#tip)"/>'
        )
    (row, column), (_, to_column) = AROUND
    left, right, bottom = LEFTS[column] + BOX / 2, LEFTS[to_column] + BOX / 2, tops[row] + TALL
    parts.append(
        f'<path d="M{left:g} {bottom}v20H{right:g}v-20" fill="none" stroke="#555" stroke-width="1.5" '
        'marker-end="url(#tip)"/>'
    )
    PICTURE.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")
    print(PICTURE)


def text(x, y, words, more=""):
    """A centered line of text."""
    return f'<text x="{x:g}" y="{y}" text-anchor="middle" fill="#222" {more}>{escape(words)}</text>'


if __name__ == "__main__":
    main()
