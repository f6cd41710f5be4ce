"""A trained model in use: arrays of any number of examples in, arrays out, by programs of one batch size."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from aejax.base.compilation import compiled
from aejax.base.errors import InputError
from aejax.datasets.storage import in_parts
from aejax.evaluation.likelihood import nll_of_each
from aejax.evaluation.sampling import Sampler
from aejax.inference import examples, functions
from aejax.inference.arithmetic import terms
from aejax.inference.batches import Fitted, batches, rows_of_batch
from aejax.inference.examples import Examples, Rows
from aejax.inference.paths import between, finite_limits, plane
from aejax.runs.folder import Run
from aejax.runs.programs import kept_programs

WAYS = ("linear", "spherical")
MOST_IMAGES = 10_000  # of an interpolation or a traversal
QUANTILES = (0.01, 0.99)  # of the codes of the test examples, between which a unit rises


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Trained:
    """What `aejax.load` returns: a run's model.

    Examples `x` are one example or [N, …] of the shape of the data, as bytes or fractions if they are images, otherwise
    in the unit of the data; codes `z` are [Z] or [N, Z] float32. Images that come back are fractions from 0 to 1. One
    example gives one result. Conditional models need the `label` of each, a name or a number; for examples, a model
    with a classifier (`classify`) takes the most probable one where none is given. The same call gives the same bits,
    whatever else is in the batch. Each method raises InputError for input that does not fit.
    """

    run: Run
    experiment: Any
    params: Any
    examples: Examples
    fitted: Any = None  # stored training examples and their labels, to which a density of codes is fitted
    first: int = 0  # the number of the first batch, whose draws belong to it: parts of a whole are drawn as the whole
    _programs: dict[Any, Any] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Trained {self.run.title}>"

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name != "_placed"}
        return kept | {"_programs": {}}  # compiled programs belong to their process, as does what is on its device

    @property
    def latent_dim(self) -> int:
        """The number of code units."""
        return int(self.experiment.latent_dim)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the labels; empty where the data have none."""
        return self.examples.labels

    @property
    def threshold(self) -> float | None:
        """The `score` above which an example is an anomaly; None where the run has not measured it."""
        return self.run.record.get("evaluation", {}).get("anomaly", {}).get("error", {}).get("threshold")

    def encode(self, x: Any, label: Any = None, sample: bool = False, seed: int = 0) -> np.ndarray:
        """The code of each example: the posterior mean, or with `sample` a draw of the posterior."""
        if sample and not self.experiment.model.bottleneck.has_posterior:
            raise InputError(f"sample: {self.run.title} has no posterior to draw from; use a model such as vae")
        return self._of_examples(functions.drawn if sample else functions.encoded, x, label, seed)

    def decode(self, z: Any, label: Any = None) -> np.ndarray:
        """The mean image of each code."""
        rows = examples.codes(z, self.latent_dim)
        decoded = self._mapped(functions.decoded, rows.values, self.label_numbers(label, len(rows)), 0)
        return rows.of(self.examples.images(decoded))

    def classify(self, x: Any) -> np.ndarray:
        """The probability of each label, q(label | x), [K] or [N, K] float32, in the order of `labels`.

        The model's own classifier gives them. Where `label` is left out of `encode`, `indices`, `reconstruct`,
        `restore`, `score`, `nll`, `fit` or `interpolate`, it is the most probable one.
        """
        rows = self.examples.rows(x)
        if self.experiment.model.classifier is None:
            raise InputError(f"classify: {self.run.title} has no classifier; use a model such as m2_vae")
        return rows.of(self._classified(rows))

    def indices(self, x: Any, label: Any = None) -> np.ndarray:
        """The indices of the positions of each example's code, [T] or [N, T] int32, of a model with discrete codes."""
        self._check_discrete("indices")
        return self._of_examples(functions.indices, x, label)

    def vectors(self, indices: Any) -> np.ndarray:
        """The codes [Z] or [N, Z] of the indices [T] or [N, T] of their positions; the inverse of `indices`."""
        self._check_discrete("vectors")
        rows = examples.indices(indices, self._ranges)
        return rows.of(self._mapped(functions.vectors, rows.values, None, 0))

    @property
    def positions(self) -> int:
        """The number T of positions of a discrete code."""
        return len(self._ranges)

    @property
    def _ranges(self) -> list[range]:
        """The indices that each position of a discrete code may have."""
        bottleneck = self.experiment.model.bottleneck
        return [*bottleneck.ranges] * (self.latent_dim // bottleneck.group)

    def reconstruct(self, x: Any, label: Any = None) -> np.ndarray:
        """The mean image of each example's code."""
        return self._of_examples(functions.reconstructed, x, label, images=True)

    def restore(self, x: Any, label: Any = None) -> np.ndarray:
        """Noisy examples, which may lie outside of the range of clean ones, reconstructed."""
        return self._of_examples(functions.reconstructed, x, label, images=True, noisy=True)

    def score(self, x: Any, label: Any = None) -> np.ndarray:
        """How unusual each example is: the squared error of its reconstruction, summed over the pixels.

        As in training: fractions of images, and where the data were standardized in units of standard deviations.
        """
        return self._of_examples(functions.error, x, label)

    def nll(self, x: Any, label: Any = None) -> np.ndarray:
        """-log p(x) of each example in nats, by `evaluate.samples` importance samples of the posterior."""
        if not self.experiment.model.has_prior or not self.experiment.model.bottleneck.has_posterior:
            raise InputError(f"nll: {self.run.title} has no posterior and prior; use a model such as vae")
        parts = map(self.examples.seen, in_parts(self.examples.rows(x).values))
        if self.experiment.form.kind == "binary" and not all(np.isin(part, (0, 1)).all() for part in parts):
            raise InputError("x: values other than 0 and 1; the likelihood is one of binary pixels")
        return self._of_examples(nll_of_each, x, label)

    def sample(self, count: int, seed: int = 0, label: Any = None) -> np.ndarray:
        """Images of `count` codes, drawn from the model's prior or from the density that `fit` has fitted.

        A conditional model draws of this `label`, or of all labels in turn.
        """
        examples.whole("count", count, 1, 10**9)
        if not self.experiment.sampler.is_prior and self.fitted is None:
            raise InputError(
                f"sample: {self.run.title} has no prior; fit a density to codes of examples: run.fit(x).sample({count})"
            )
        label = np.arange(count) % len(self.labels) if self._is_conditional and label is None else label
        rows = np.zeros((count, 0), np.float32)
        images = self._mapped(functions.sampled, rows, self.label_numbers(label, count), seed)
        return self.examples.images(images)

    def fit(self, x: Any, label: Any = None, sampler: Sampler | None = None) -> "Trained":
        """This model with a density fitted to the codes of `x`, from which `sample` draws; that of the run's sampler.

        Draws of examples that are binarized at random go into it, as in the evaluation of a run. Labels that are not
        given are inferred, where the model has a classifier.
        """
        rows, form = self.examples.rows(x), self.experiment.form
        experiment = self.experiment if sampler is None else self.experiment.replace(sampler=sampler)
        stored = self.examples.seen(rows.values) * np.float32(
            255 if form.kind in ("gray", "rgb") or form.dynamic else 1
        )
        fitted = Fitted(stored, self.labels_of(rows, label))
        return dataclasses.replace(self, experiment=experiment, fitted=fitted, _programs={})

    def interpolate(self, a: Any, b: Any, steps: int = 8, how: str = "linear", label: Any = None) -> np.ndarray:
        """Images of `steps` codes from that of example `a` to that of example `b`, along a line or an arc.

        Both have one label, which a model with a classifier infers if it is not given.
        """
        if how not in WAYS:
            raise InputError(f"how={how}: must be one of {', '.join(WAYS)}")
        examples.whole("steps", steps, 2, MOST_IMAGES)
        ends = {name: self.examples.rows(x) for name, x in (("a", a), ("b", b))}
        for name, rows in ends.items():
            if not rows.single:
                raise InputError(f"{name}: {len(rows)} examples; must be one")
        if label is None and self.infers_labels:
            label, other = (int(self._classified(rows).argmax()) for rows in ends.values())
            if label != other:
                names = f"{self.labels[label]} of a and {self.labels[other]} of b"
                raise InputError(f"label: {names} by the classifier; an interpolation has one, choose it")
        start, end = self.encode(a, label), self.encode(b, label)
        return self.decode(between(start, end, steps, how), label)

    def traverse(
        self,
        units: Sequence[int] = (0, 1),
        steps: int = 10,
        limits: tuple[float, float] | None = None,
        label: Any = None,
    ) -> np.ndarray:
        """Images [steps, …] of codes in which a unit rises; of two [steps, steps, …], the first from left to right.

        The other units stay at the mean code of the test examples. A unit rises between the `limits`, by default from
        the 1 % to the 99 % quantile of those codes. Discrete codes become the nearest that the encoder can give.
        """
        codes_NxZ, last = self.run.codes["z"], self.latent_dim - 1
        are_whole = all(isinstance(unit, int | np.integer) for unit in units) if np.iterable(units) else False
        if not are_whole or not 1 <= len(units) == len(set(units)) <= 2 or not set(units) <= set(range(last + 1)):
            raise InputError(f"units={units}: must be one or two different units from 0 to {last}")
        units = list(units)
        examples.whole("steps", steps, 2, int(MOST_IMAGES ** (1 / len(units))))
        if limits is None:
            limits_2xU = np.quantile(codes_NxZ[:, units], QUANTILES, axis=0)
        else:
            limits_2xU = np.repeat(np.array(finite_limits(limits))[:, None], len(units), axis=1)
        z_GxZ = plane(codes_NxZ.mean(axis=0), units, limits_2xU, steps)
        decoded = self._mapped(functions.nearest, z_GxZ, self.label_numbers(label, len(z_GxZ)), 0)
        return self.examples.images(decoded).reshape(*[steps] * len(units), *self.examples.form.shape)

    def arithmetic(self, expression: str, label: Any = None) -> np.ndarray:
        """The image of a sum of codes such as "smiling - neutral + cat".

        The code of a name is the mean code of the test examples with that label.
        """
        return self.decode(sum(sign * self._code_of(name) for sign, name in terms(expression)), label)

    def _code_of(self, name: str) -> np.ndarray:
        number, codes = self.examples.number(name), self.run.codes
        chosen_N = codes["y"] == number
        if not chosen_N.any():
            raise InputError(f"no test example has the label {name}")
        return codes["z"][chosen_N].mean(axis=0)

    @property
    def infers_labels(self) -> bool:
        """Whether labels of examples may be left out of a conditional model, because it has a classifier."""
        return self._is_conditional and self.experiment.model.classifier is not None

    @property
    def _is_conditional(self) -> bool:
        return self.experiment.model.is_conditional

    def _check_discrete(self, name: str) -> None:
        if not self.experiment.model.bottleneck.is_discrete:
            raise InputError(f"{name}: the codes of {self.run.title} are not discrete; use a model such as vq_vae")

    def label_numbers(self, label: Any, count: int) -> np.ndarray | None:
        """The number of each of `count` labels, names or numbers, [count] int32; None for a model without a condition.

        Raises InputError where labels are missing, unknown, or given to a model that does not look at them.
        """
        if not self._is_conditional:
            if label is not None:
                raise InputError(f"label: {self.run.title} does not look at labels; leave it out")
            return None
        if label is None:
            raise InputError(f"label: is missing; {self.run.title} was trained with model.condition=label")
        return self.examples.numbers(label, count)

    def labels_of(self, rows: Rows, label: Any, noisy: bool = False) -> np.ndarray | None:
        """`label_numbers` of checked examples; of no `label` the most probable ones, where the model infers labels."""
        if label is None and self.infers_labels:
            return self._classified(rows, noisy).argmax(axis=1).astype(np.int32)
        return self.label_numbers(label, len(rows))

    def _classified(self, rows: Rows, noisy: bool = False) -> np.ndarray:
        """q(label | x) of checked examples, [N, K]."""
        seen = functools.partial(self.examples.seen, noisy=noisy)
        return self._mapped(functions.classified, rows.values, None, 0, prepare=seen)

    def _of_examples(
        self, function: Callable, x: Any, label: Any, seed: int = 0, images: bool = False, noisy: bool = False
    ) -> np.ndarray:
        rows, seen = self.examples.rows(x, noisy), functools.partial(self.examples.seen, noisy=noisy)
        results = self._mapped(function, rows.values, self.labels_of(rows, label, noisy), seed, prepare=seen)
        return rows.of(self.examples.images(results) if images else results)

    @functools.cached_property
    def _placed(self) -> tuple[Any, Any, Any]:
        """The experiment, its parameters and the fitted examples on the device."""
        return jax.device_put((self.experiment, self.params, self.fitted))

    def _mapped(
        self, function: Callable, rows: np.ndarray, label: np.ndarray | None, seed: int, prepare: Callable = np.asarray
    ) -> np.ndarray:
        """`function`(experiment, params, rows, labels, batch number, …) of all rows; the last batch is padded.

        `prepare` makes of a batch what the function takes, while the device works on those before.
        """
        examples.whole("seed", seed, 0, 2**32 - 1)
        experiment, params, fitted = self._placed
        more = {functions.drawn: (np.uint32(seed),), functions.sampled: (np.uint32(seed), fitted)}.get(function, ())
        parts, results = batches(rows, label, rows_of_batch(experiment.form)), []
        for number, (part, label_of_part) in enumerate(parts, self.first):
            inputs = (experiment, params, prepare(part), label_of_part, np.uint32(number), *more)
            results.append(self._program(function, inputs)(*inputs))
        return np.concatenate(jax.device_get(results))[: len(rows)]

    def _program(self, function: Callable, inputs: Any) -> Any:
        if function not in self._programs:
            with kept_programs():
                self._programs[function] = compiled(jax.jit(function), *inputs)
        return self._programs[function]
