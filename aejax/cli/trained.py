"""What the commands that use a trained run have in common: RUN, and how it may be loaded."""

from aejax.base.errors import InputError


def add_run(parser):
    """Adds RUN, --force and --trust to a parser."""
    parser.add_argument("run", metavar="RUN", help="the folder of a finished run, or a zip archive of it")
    parser.add_argument("--force", action="store_true", help="also use a run that diverged or was not finished")
    parser.add_argument("--trust", action="store_true", help="also use classes beside aejax's own that RUN names")


def loaded(options):
    """The Trained model of the RUN that is given; raises InputError."""
    from aejax.inference.loading import load

    try:
        return load(options.run, options.force, options.trust)
    except InputError as error:
        raise InputError(str(error).replace("force=True", "--force").replace("trust=True", "--trust")) from None
