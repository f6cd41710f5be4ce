"""Uses a trained run: encodes, decodes, restores, samples, scores files and pictures."""

import argparse
import contextlib
import math
import sys

from aejax.base.errors import InputError
from aejax.cli.parsing import Parser, reported
from aejax.cli.trained import add_run, loaded
from aejax.compression import operations as compression
from aejax.inference import operations as inference
from aejax.inference.files.reading import READABLE, STREAM, check_readable
from aejax.inference.files.writing import STREAMED, check_form, check_writable, write

OPERATIONS = inference.OPERATIONS | compression.OPERATIONS
USE = """encode | reconstruct | restore | score | nll   IN OUT
decode       CODES OUT
interpolate  IN OUT, or A B OUT      two examples
sample       OUT                     --count 64
traverse     OUT                     --units 0,1
arithmetic   "cat - neutral + dog" OUT
compress     IN OUT.aec              --lossless, or --bits 0.3
decompress   IN.aec OUT

IN and OUT are .npy, .npz, .csv, .parquet, a picture, a folder of pictures, or - for standard input and output
(.npy or .csv). An .npz holds x (codes: z), or a single array; with y or label beside it. The folders in a folder of
pictures are labels. Several images in one picture are a sheet; interpolate writes .gif and .webp as animations."""


def build_parser():
    """The parser of the command line."""
    parser = Parser(
        prog="python -m aejax.apply",
        description=__doc__,
        epilog=USE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run(parser)
    parser.add_argument("operation", metavar="OPERATION", help=", ".join(OPERATIONS))
    parser.add_argument("words", nargs="*", metavar="IN OUT", help="where from and where to")
    parser.add_argument("--label", metavar="LABEL", help="of a conditional model: a name, a number, or an .npy of them")
    parser.add_argument("--rows", type=_numbers, metavar="I,J,…", help="only these examples of IN, counted from 0")
    parser.add_argument("--resize", choices=("crop", "stretch"), help="bring pictures to the size of the data")
    parser.add_argument("--sample", action="store_true", default=None, help="encode: draw from the posterior")
    parser.add_argument("--seed", type=int, metavar="N", help="encode --sample, sample: of the draws (0)")
    parser.add_argument("--count", type=int, metavar="N", help="sample: how many images (64)")
    parser.add_argument("--fit", metavar="IN", help="sample: draw from a density of the codes of these examples")
    parser.add_argument("--steps", type=int, metavar="N", help="interpolate: images (8; animations 30); traverse (10)")
    parser.add_argument("--how", choices=("linear", "spherical"), help="interpolate: along a line (default) or an arc")
    parser.add_argument("--units", type=_numbers, metavar="I,J", help="traverse: one or two code units (0,1)")
    parser.add_argument(
        "--range",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="traverse: of the units (1 %% to 99 %% of the test codes)",
    )
    parser.add_argument("--lossless", action="store_true", default=None, help="compress: so that every bit comes back")
    parser.add_argument("--bits", type=float, metavar="B", help="compress: at most so many bits a pixel")
    parser.add_argument("--scale", type=int, metavar="N", help="draw a pixel as N x N (single pictures and folders: 1)")
    parser.add_argument("--format", choices=STREAMED, help="of standard output (npy)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    return parser


def main(words=None):
    """The command; exit status 0, or 2 for a wrong input."""
    options = build_parser().parse_intermixed_args(words)
    with reported("apply"):
        check(options)
        try:
            apply(options)
        except Exception as error:
            from aejax.base.devices import lack_of_memory

            lack = lack_of_memory(error, "the number of examples")
            if lack is None:
                raise
            raise InputError(lack) from None


def check(options):
    """Raises InputError for words that cannot be used, before anything heavy is imported."""
    operation = OPERATIONS.get(options.operation)
    if operation is None:
        raise InputError(f"{options.operation}: no such operation; must be one of {', '.join(OPERATIONS)}")
    *inputs, out = options.words or [None]
    if out is None or len(inputs) not in operation.inputs:
        wanted = " or ".join(str(count + 1) for count in operation.inputs)
        raise InputError(f"{options.operation}: {len(options.words)} words after it; must be {wanted}, the last is OUT")
    others = {name for each in OPERATIONS.values() for name in each.options} - set(operation.options)
    wrong = sorted(name for name in others if getattr(options, name) is not None)
    if wrong:
        raise InputError(f"--{wrong[0]}: is no option of {options.operation}; --help lists all options")
    for name in ("steps", "scale"):
        value = getattr(options, name)
        if value is not None and value < 1 + (name == "steps"):
            raise InputError(f"--{name} {value}: must be at least {1 + (name == 'steps')}")
    if options.seed is not None and not 0 <= options.seed < 2**32:
        raise InputError(f"--seed {options.seed}: must be from 0 to {2**32 - 1}")
    if options.format is not None and out != STREAM:
        raise InputError(f"--format {options.format}: is for standard output; that of {out} is its ending")
    if options.range is not None and not -math.inf < options.range[0] < options.range[1] < math.inf:
        low, high = options.range
        raise InputError(f"--range {low:g} {high:g}: must be two finite numbers, the lower one first")
    if "" in options.words:
        raise InputError(f"{options.operation}: a word is empty; must be a path, or - for standard input and output")
    for path in [options.fit] if options.fit is not None else inputs if options.operation != "arithmetic" else []:
        check_readable(path, READABLE if path == options.fit else operation.readable)
    if inputs.count(STREAM) > 1:
        raise InputError("-: standard input can be read once only")
    check_writable(out, operation.endings, options.overwrite)


def apply(options):
    """Loads the run, applies the operation and writes its result; raises InputError."""
    *inputs, out = options.words
    options.moves = out.lower().endswith((".gif", ".webp"))
    run = loaded(options)
    check_form(out, run.examples.form)
    lines = []
    options.say = lines.append
    with _progress(options.operation) as options.show:
        result = OPERATIONS[options.operation].function(run, inputs, options)
    write(result, out, run.examples.form, options.scale, options.format or "npy")
    for line in (f"{options.operation}: {_size(result)} -> {out}", *lines):
        print(line, file=sys.stderr if out == STREAM else sys.stdout)


@contextlib.contextmanager
def _progress(name):
    """A function (done, total) that moves a bar on a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        tasks = []

        def show(done, total):
            if not tasks:
                tasks.append(progress.add_task(name, total=total))
            progress.update(tasks[0], completed=done)

        yield show


def _size(result):
    if isinstance(result, bytes):
        return f"{len(result):,} bytes"
    return " x ".join(f"{size:,}" for size in result.main.shape) or "1"


def _numbers(text):
    """Whole numbers between commas."""
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: must be whole numbers, such as 0,1") from None
