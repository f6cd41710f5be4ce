"""Whether what a run saves and reports is right, checked on real trainings beside independent oracles.

    python -m benchmarks.checks                  every check, a line each; exit status 1 if one fails
    python -m benchmarks.checks reading samples  the checks of these modules

A check is a function `check_*` of a module in this folder. The first line of its docstring says what must hold; it
returns what it measured, as text, and whether that is right.
"""

import contextlib
import importlib
import io
import sys
import time
from pathlib import Path

MODULES = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def main(names):
    failed = 0
    for name in names or MODULES:
        module = importlib.import_module(f"benchmarks.checks.{name}")
        for check in (value for key, value in vars(module).items() if key.startswith("check_")):
            begin = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                measured, passed = check()  # what its trainings print is not shown
            failed += not passed
            seconds = time.perf_counter() - begin
            claim = check.__doc__.strip().splitlines()[0]
            print(f"{'ok  ' if passed else 'FAIL'} {claim} [{measured}] ({seconds:.0f} s)", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
