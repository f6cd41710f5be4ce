"""Serves a trained run over HTTP: endpoints for programs, a page for people. Ctrl-C ends it."""

import importlib.util
import sys

from aejax.base.errors import InputError
from aejax.cli.parsing import Parser, fail

NEEDS = ("uvicorn", "httptools", "uvloop", "orjson")


def build_parser():
    """The parser of the command line."""
    parser = Parser(prog="python -m aejax.serve", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="the folder of a finished run")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default: 127.0.0.1, this machine alone)")
    parser.add_argument("--port", type=int, default=8000, help="the port (default: 8000), 0 for any that is free")
    parser.add_argument("--force", action="store_true", help="serve a run that diverged")
    return parser


def main(words=None):
    """The command; exit status 130 after Ctrl-C, 2 for a wrong input."""
    options = build_parser().parse_args(words)
    try:
        missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
        if missing:
            raise InputError(f"serve: {missing[0]} is not installed: pip install 'aejax[serve]'")
        from aejax.inference.loading import load
        from aejax.serving.server import serve

        trained = load(options.run, options.force)
        title, end = trained.run.title, "(Ctrl-C ends it)"
        serve(trained, options.host, options.port, lambda address: print(title, "on", address, end, flush=True))
        print("stopped", flush=True)
    except InputError as error:
        fail(str(error).replace("force=True takes its", "--force serves its"))
    except OSError as error:
        fail(error)
    except KeyboardInterrupt:
        print("stopped", flush=True)
        sys.exit(130)
