"""Weights & Biases: a mirror of what the run folder holds, never the truth."""

from typing import Any

from flax import struct

from aejax.errors import InputError
from aejax.settings import amount, choice, flag, words

TABLE_ROWS = 10_000  # of codes that W&B plots; its own limit for a table


@struct.dataclass
class Track:
    """Whether and where a run is mirrored; the two timeouts are in seconds."""

    mode: str = choice("offline", "online", "off")
    project: str = words()
    entity: str | None = words(optional=True)
    artifact: bool = flag()
    timeout: float = amount(above=0, high=14)
    finish_timeout: float = amount(above=0)

    def start(self, folder, run_id, name, settings):
        """A Mirror of the run in `folder`; raises InputError where the server cannot be used."""
        if self.mode == "off":
            return Mirror(None, self.artifact)
        import wandb  # half a second, so only where it is used

        quiet = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            save_code=False,
            init_timeout=self.timeout,
            login_timeout=self.timeout,
            finish_timeout=self.finish_timeout,
            x_disable_stats=True,
            x_disable_meta=True,
            x_save_requirements=False,
        )
        try:
            run = wandb.init(
                mode=self.mode,
                project=self.project,
                entity=self.entity,
                dir=folder,
                id=run_id,
                name=name,
                config=settings,
                reinit="create_new",
                settings=quiet,
            )
        except wandb.Error as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise InputError(f"track={self.mode}: {reason}; must be offline or off without the server") from None
        return Mirror(run, self.artifact)


class Mirror:
    """One W&B run, or nothing at all where `run` is None."""

    def __init__(self, run: Any, artifact: bool):
        self.run, self.artifact = run, artifact

    @property
    def run_id(self):
        """The W&B id, None without a W&B run."""
        return None if self.run is None else self.run.id

    def log(self, row):
        """Mirrors one row of the history."""
        if self.run is not None:
            self.run.log({name: value for name, value in row.items() if name != "step"}, step=int(row["step"]))

    def log_results(self, finished, metrics, label_names):
        """Mirrors what a finished Run left: summary, pictures, codes, and the parameters where they are asked for."""
        if self.run is None:
            return
        import wandb

        self.run.summary.update({name: value for name, value in metrics.items() if value is not None})
        pictures = sorted((finished.path / "figures").glob("*.png"))
        shown = {f"figures/{picture.stem}": wandb.Image(str(picture)) for picture in pictures}
        table = wandb.Table(*_code_table(finished.codes, label_names))
        self.run.log(shown | {"codes": table})
        if self.artifact:
            artifact = wandb.Artifact(f"params-{self.run.id}", type="model")
            artifact.add_file(str(finished.path / "params.safetensors"))
            self.run.log_artifact(artifact)

    def finish(self, failed=False):
        """Closes the W&B run; waits no longer than `finish_timeout` for the server."""
        if self.run is not None:
            self.run.finish(exit_code=int(failed))


def _code_table(codes, label_names):
    """Columns and rows: index, label, and one column a code unit."""
    z_NxZ, labels = codes["z"][:TABLE_ROWS], codes.get("y")
    columns = ["index", "label", *(f"z{unit}" for unit in range(z_NxZ.shape[1]))]
    rows = [
        [int(index), label_names[labels[row]] if labels is not None else "", *z.tolist()]
        for row, (index, z) in enumerate(zip(codes["index"], z_NxZ, strict=False))
    ]
    return columns, rows
