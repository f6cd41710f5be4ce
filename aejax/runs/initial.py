"""The parameters of a finished run, with which a training begins (`init=RUN`)."""

import dataclasses
from typing import Any, Self

from aejax.base.archive import digest
from aejax.base.errors import InputError
from aejax.runs import contents
from aejax.runs.finished import finished
from aejax.runs.folder import SETTINGS, Run, flat
from aejax.runs.parameters import expected_shapes, first_difference, shapes_of
from aejax.settings.configuration import differences, plain

GROUPS = ("data", "model", "net", "prior", "likelihood")  # of choices, and
PARTS = ("latent_dim", "model", "net", "prior", "likelihood")  # settings that decide the shapes of parameters
NAMED = 4  # settings that an error names


@dataclasses.dataclass(frozen=True, eq=False)
class Initial:
    """The parameters of a finished `run`, a folder or a zip archive, and 16 hex digits of their bytes."""

    run: Run
    params: Any
    digest: str

    @classmethod
    def read(cls, path: str) -> Self:
        """The parameters of the run in `path`; raises InputError where there is none, or where it is not completed."""
        try:
            run = finished(path, ("params.safetensors",))
            params = run.params
        except (InputError, OSError) as error:
            raise InputError(f"init={error}") from None
        return cls(run, params, digest(flat(params)).hexdigest()[:16])

    @property
    def described(self) -> dict[str, Any]:
        """What run.json says of it."""
        return {"run": self.run.record.get("id"), "name": self.run.record.get("name"), "parameters": self.digest}

    def check(self, experiment: Any, settings: dict[str, Any], choices: dict[str, str]) -> None:
        """Raises InputError where an experiment, that of these `settings`, cannot begin with the parameters."""
        name = f"init={self.run.path}"
        if experiment.model.solver.closed_form:
            title = experiment.model_title
            raise InputError(f"{name}: {title} is fitted in closed form and takes no steps; leave init out")
        if experiment.pretrain.phases(experiment):
            raise InputError(f"{name}: layers that have been trained need no pretraining; set pretrain=none")
        difference = first_difference(shapes_of(self.params), expected_shapes(experiment))
        if difference is None:
            return
        parameter, there, here = difference
        try:
            composed = f"; that run has {self._differing(settings, choices)}"
        except (OSError, ValueError):  # its .hydra is missing or damaged, which nothing else here needs
            composed = ""
        raise InputError(f"{name}: {parameter} is {there} there and {here} here{composed}")

    def _differing(self, settings: dict[str, Any], choices: dict[str, str]) -> str:
        """What the run was composed of where it differs from these choices, or else from these settings."""
        chosen = [{group: names.get(group) for group in GROUPS} for names in (self.run.choices, choices)]
        saved = plain(contents.settings(self.run.path / SETTINGS / "config.yaml"))
        parts = [{key: config[key] for key in PARTS if key in config} for config in (saved, settings)]
        words = [f"{key}={old}" for key, (old, _) in (differences(*chosen) or differences(*parts)).items()]
        more = f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
        return f"{' '.join(words[:NAMED])}{more}" if words else "examples of another shape"
