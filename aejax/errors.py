"""What goes wrong and is told in one line. Imports nothing, so that the command line stays quick."""

import difflib


class InputError(ValueError):
    """Something the user gave cannot be used; the message names the key, the value and what is allowed."""


def near(word, known):
    """The clause that names what `word` may have meant and what is known, for the end of a message."""
    known = sorted(str(name) for name in known)
    matches = difflib.get_close_matches(str(word), known, n=3, cutoff=0.5)
    guess = f"did you mean {' or '.join(matches)}? " if matches else ""
    return f"{guess}known: {', '.join(known)}"
