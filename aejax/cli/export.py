"""python -m aejax.export RUN OUT: the encoder and the decoder of a finished run as files for programs without aejax."""

import argparse
from pathlib import Path

from aejax.base.files import whole_folder, write_whole
from aejax.cli.parsing import Parser, reported
from aejax.cli.trained import add_run, loaded

USE = """for JAX:           python -m aejax.export RUN OUT
for ONNX Runtime:  python -m aejax.export RUN OUT --to onnx --part encoder

OUT is a folder that is made. It holds encoder.stablehlo or encoder.onnx, the decoder likewise, export.json, which says
what they take and return, and README.md with the lines of Python that call them. The files take any number of examples,
need no aejax, and give the numbers of run.encode and run.decode."""


def main(words=None):
    """The command; exit status 0, or 2 for a wrong input."""
    options = _parser().parse_args(words)
    with reported(options.out):
        _export(options)


def _parser():
    parser = Parser(
        "python -m aejax.export",
        description=__doc__,
        epilog=USE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run(parser)
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to make")
    parser.add_argument("--to", choices=("stablehlo", "onnx"), default="stablehlo", help="the format (%(default)s)")
    parser.add_argument("--part", choices=("encoder", "decoder", "both"), default="both", help="what (%(default)s)")
    parser.add_argument(
        "--pixels",
        choices=("bytes", "fractions"),
        default="bytes",
        help="what the encoder takes for images: uint8, or float32 from 0 to 1, noisy ones beyond (%(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an export in OUT")
    return parser


def _export(options):
    from aejax.inference.export import check_format, check_out, export

    check_out(options.out, options.overwrite)
    check_format(options.to)
    files = export(loaded(options), options.to, options.part, options.pixels)
    with whole_folder(options.out) as folder:
        for name, content in files.items():
            write_whole(folder / name, content)
    for name, content in files.items():
        if isinstance(content, bytes):
            print(f"{options.out / name}: {len(content):,} bytes")
