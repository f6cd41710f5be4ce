"""Text and numbers from untrusted files, made safe to show in any terminal, file or page."""

import math


def plain(text):
    """The text with escapes for what is not printable: line ends, terminal codes, lone surrogates, direction marks.

    So no name can move the cursor, break a line or fail to be encoded.
    """
    text = str(text)
    return (
        text
        if text.isprintable()
        else "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    )


def word(value):
    """A setting's value as a person reads it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.12g}" if isinstance(value, float) else plain(value)


FORMULA = ("=", "+", "-", "@")


def cell(value):
    """A value for a spreadsheet: text that it would take for a formula gets a leading apostrophe."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(FORMULA) and not _is_number(text) else text


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True
