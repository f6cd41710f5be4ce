"""Names of configurations, made of the settings that differ."""

from aejax.comparison.plain import word

BARE = ("model", "data")


def names(frame, keys, bare=BARE):
    """A name for each row, made of the settings `keys`, such as `vae beta=4`; equal only where all of these are equal.

    A setting is named only if the model and the settings named before it leave it open. Those in `bare` are named by
    their value alone, and always if they come first.
    """
    keys = sorted(keys, key=lambda key: key != "model")
    rows = [tuple(map(_plain, values)) for values in frame[list(keys)].to_numpy().tolist()]
    parts, before = [[] for _ in rows], [()] * len(rows)
    for place, key in enumerate(keys):
        values = {}  # {values of the settings before: values of this one}
        for row, known in zip(rows, before, strict=True):
            values.setdefault(known, set()).add(row[place])
        short = key
        for shown in keys[:place]:
            short = short.removeprefix(f"{shown}.")
        for number, row in enumerate(rows):
            is_open = len(values[before[number]]) > 1
            if is_open or (not place and key in bare):
                text = "null" if row[place] is None else word(row[place])
                parts[number].append(text if key in bare else f"{short}={text}")
        before = [(*known, row[place]) for known, row in zip(before, rows, strict=True)]
    joined = [" ".join(words) for words in parts]
    return _numbered(joined, before)


def _numbered(names, rows):
    """The names, with a number appended where different rows would share a name."""
    of_name = {}
    for name, row in zip(names, rows, strict=True):
        of_name.setdefault(name, {}).setdefault(row, len(of_name.get(name, {})))
    numbered = []
    for name, row in zip(names, rows, strict=True):
        number = of_name[name][row]
        numbered.append(f"{name} ({number + 1})" if number else name)
    return numbered


def _plain(value):
    """A value that compares equal only to the same value: nan becomes None; 2.0 equals 2."""
    if value is None or value != value:
        return None
    return value if isinstance(value, bool | int | float) else str(value)
