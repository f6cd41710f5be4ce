"""A process other than the first of those that train a run together: it computes its share, and leaves nothing."""

from rich.console import Console

from aejax.base import processes
from aejax.base.devices import lack_of_memory
from aejax.base.errors import InputError
from aejax.runs import programs
from aejax.runs.beginning import Beginning
from aejax.runs.console import ConsoleReport
from aejax.runs.record import Lane
from aejax.runs.segments import begin, check_stop, train
from aejax.training.checkpoint import Checkpoint


def share(job, layout):
    """Computes this process's share of a job's training, in the steps of `group.run_group`.

    Raises KeyboardInterrupt where the processes stop, InputError where another one ends or the memory is too small.
    """
    programs.keep_compiled_programs()
    lane, quiet = Lane(job, None, None, ended=True), ConsoleReport(Console(quiet=True))
    try:
        inputs = programs.Inputs.of([job], layout)
        with processes.together("the start of the training"):
            training, state = programs.Training.compiled([job], layout, inputs)
        check_stop()
        checkpoint = Checkpoint(None, (job.run_id,), job.checkpoint.seconds)  # the first process has the file
        train([lane], layout, training, begin(checkpoint, state, quiet), checkpoint, quiet, Beginning(None, quiet))
    except Exception as error:
        told = lack_of_memory(error, "latent_dim, net.widths, batch_size or data.limit") or processes.loss(error)
        if told:
            raise InputError(told) from None
        raise
