"""Words of a command line: options that there are, and the one line for what is wrong."""

import argparse
import sys

from aejax.base.errors import InputError

OPTIONS = ("--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun", "--info",
           "--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun")  # fmt: skip


LETTERS = ("-h", "-c", "-p", "-r", "-m", "-i", "-sc", "-cp", "-cn", "-cd")


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the options."""

    def error(self, message):
        fail(f"{self.prog.rpartition('.')[2]}: {message}; --help lists all options")


def check_options(words):
    """Raises InputError at an option that Hydra does not have, whose own words for that take eight lines."""
    for word in words:
        name = word.partition("=")[0]
        known = any(option.startswith(name) for option in OPTIONS) if name[:2] == "--" else name in LETTERS
        if name.startswith("-") and not known:
            raise InputError(f"{name}: no such option; settings are written as {name.lstrip('-') or 'seed'}=VALUE")


def fail(message, status=2):
    """One line on stderr, and the exit status."""
    print(f"aejax: {' '.join(str(message).split())}", file=sys.stderr)
    raise SystemExit(status)
