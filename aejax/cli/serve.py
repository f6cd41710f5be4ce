"""Serves a trained run over HTTP: endpoints for programs, a page for people. Ctrl-C ends it."""

import importlib.util
import sys

from aejax.base.errors import InputError
from aejax.cli.parsing import Parser, fail
from aejax.cli.trained import add_run, loaded

NEEDS = ("uvicorn", "httptools", "uvloop", "orjson")


def build_parser():
    """The parser of the command line."""
    parser = Parser(prog="python -m aejax.serve", description=__doc__)
    add_run(parser)
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default: 127.0.0.1, this machine alone)")
    parser.add_argument("--port", type=int, default=8000, help="the port (default: 8000), 0 for any that is free")
    return parser


def main(words=None):
    """The command; exit status 130 after Ctrl-C, 2 for a wrong input."""
    options = build_parser().parse_args(words)
    try:
        missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
        if missing:
            raise InputError(f"serve: {missing[0]} is not installed: pip install 'aejax[serve]'")
        from aejax.serving.server import serve

        trained = loaded(options)
        title, end = trained.run.title, "(Ctrl-C ends it)"
        serve(trained, options.host, options.port, lambda address: print(title, "on", address, end, flush=True))
        print("stopped", flush=True)
    except InputError as error:
        fail(error)
    except OSError as error:
        fail(error)
    except KeyboardInterrupt:
        print("stopped", flush=True)
        sys.exit(130)
