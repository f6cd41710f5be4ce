"""What `python -m aejax.apply` does with a trained model: (model, paths, options) -> Result, a function for each word.

The options are those of the command line, None where not given; `options.show(done, total)` is called on the way, and
`options.say(line)` for what is printed at the end.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from aejax.base.errors import InputError
from aejax.datasets.pixels import ENDINGS
from aejax.inference.arithmetic import terms
from aejax.inference.files.reading import ARRAYS, READABLE, TABLES, Given, read
from aejax.inference.files.writing import Drawing, Result

if TYPE_CHECKING:
    from aejax.inference.trained import Trained

NUMBERS = (*ARRAYS, *TABLES)
IMAGES = (*NUMBERS, *ENDINGS)
BATCHES = 16  # in a part of the examples that is in work at a time
MOST_CODES = 10_000  # of a traversal


def encode(run: "Trained", paths: list[str], options: Any) -> Result:
    """The codes of examples: posterior means, or draws of the posterior with `sample`."""
    drawn = {"sample": True, "seed": options.seed or 0} if options.sample else {}
    return _of_examples(run, paths, options, "z", lambda part, x, label: part.encode(x, label, **drawn))


def decode(run: "Trained", paths: list[str], options: Any) -> Result:
    """The images of codes."""
    given = given_in(run, paths[0], options, "z")
    label = labels_of(run, options, given)
    values = _in_parts(run, lambda part, z, label: part.decode(z, label), given, label, options)
    return Result({"x": values}, given.single, _beside(run, given))


def reconstruct(run: "Trained", paths: list[str], options: Any) -> Result:
    """The images of the codes of examples."""
    return _of_examples(run, paths, options, "x", lambda part, x, label: part.reconstruct(x, label))


def restore(run: "Trained", paths: list[str], options: Any) -> Result:
    """Noisy examples, cleaned."""
    return _of_examples(run, paths, options, "x", lambda part, x, label: part.restore(x, label))


def score(run: "Trained", paths: list[str], options: Any) -> Result:
    """The anomaly score of examples, and whether it is above the run's threshold where there is one."""
    result = _of_examples(run, paths, options, "score", lambda part, x, label: part.score(x, label))
    if run.threshold is None:
        return result
    return dataclasses.replace(result, arrays=result.arrays | {"anomaly": result.main > run.threshold})


def nll(run: "Trained", paths: list[str], options: Any) -> Result:
    """-log p(x) of examples in nats."""
    return _of_examples(run, paths, options, "nll", lambda part, x, label: part.nll(x, label))


def sample(run: "Trained", paths: list[str], options: Any) -> Result:
    """Images of codes that are drawn from the prior, or from a density of the codes of the examples in `fit`."""
    count, seed = 64 if options.count is None else options.count, options.seed or 0
    if options.fit is not None:
        given = given_in(run, options.fit, options, "x")
        run = run.fit(given.values, _label(run, options.label) if given.labels is None else _beside_labels(run, given))
    elif options.rows or options.resize:
        raise InputError(f"--{'rows' if options.rows else 'resize'}: is for the examples of --fit, which is not there")
    elif not run.experiment.sampler.is_prior:
        raise InputError(f"sample: {run.run.title} has no prior; fit a density to the codes of examples: --fit IN")
    if count < 1:
        raise InputError(f"--count {count}: must be at least 1")
    label = _label(run, options.label)
    if label is None and run.experiment.model.is_conditional:
        label = np.arange(count) % len(run.labels)
    given = Given("sample", np.empty((count, 0), np.float32), None)
    values = _in_parts(run, lambda part, rows, label: part.sample(len(rows), seed, label), given, label, options)
    return Result({"x": values})


def interpolate(run: "Trained", paths: list[str], options: Any) -> Result:
    """Images between two examples, which are in one file or in two."""
    ends: list[np.ndarray] = []
    labels: list[Any] = []
    for path in paths:
        given = given_in(run, path, options, "x")
        ends += [given.values] if given.single else list(given.values[:3])
        labels += [] if given.labels is None else _numbered(run, given.labels)[:3].tolist()
    if len(ends) != 2:
        more = " or more" * (len(ends) > 2)
        raise InputError(f"{' '.join(paths)}: {len(ends)}{more} examples; must be two: choose them by --rows 0,1")
    label = _label(run, options.label)
    if label is None and labels and run.experiment.model.is_conditional:
        if len(set(labels)) > 1:
            raise InputError(f"labels {labels[0]} and {labels[1]}: an interpolation has one; choose it by --label")
        label = labels[0]
    steps = options.steps or (30 if options.moves else 8)
    values = run.interpolate(ends[0], ends[1], steps, how=options.how or "linear", label=label)
    return Result({"x": values}, drawing=Drawing(columns=len(values), moves=True))


def traverse(run: "Trained", paths: list[str], options: Any) -> Result:
    """Images of codes in which one or two units rise, from left to right and from top to bottom."""
    units, steps = options.units or list(range(min(2, run.latent_dim))), options.steps or 10
    if steps ** len(units) > MOST_CODES:
        raise InputError(f"--steps {steps}: {steps ** len(units):,} images; must be at most {MOST_CODES:,}")
    label = _label(run, options.label)
    values = run.traverse(units, steps, options.range, label)
    return Result({"x": values.reshape(-1, *run.examples.form.shape)}, drawing=Drawing(columns=steps))


def arithmetic(run: "Trained", paths: list[str], options: Any) -> Result:
    """The image of a sum of the codes of labels; a picture shows its terms too."""
    label = _label(run, options.label)
    result = run.arithmetic(paths[0], label)
    signs_and_names = terms(paths[0])
    shown = np.stack([*(run.arithmetic(name, label) for _, name in signs_and_names), result])
    signs = ["+" if sign > 0 else "-" for sign, _ in signs_and_names]
    signs[0] = "" if signs[0] == "+" else signs[0]
    return Result({"x": result}, True, drawing=Drawing(signs=[*signs, "="], images=shown))


@dataclasses.dataclass(frozen=True)
class Operation:
    """A word of the command line: its function, how many words go in, the endings of OUT and IN, its options.

    A function that returns bytes gives the whole content of OUT.
    """

    function: Callable[["Trained", list[str], Any], Result | bytes]
    inputs: tuple[int, ...] = (1,)
    endings: tuple[str, ...] = NUMBERS
    options: tuple[str, ...] = ("label", "rows", "resize")
    readable: tuple[str, ...] = READABLE


OPERATIONS = {
    "encode": Operation(encode, options=("label", "rows", "resize", "sample", "seed")),
    "decode": Operation(decode, endings=IMAGES, options=("label", "rows", "scale")),
    "reconstruct": Operation(reconstruct, endings=IMAGES, options=("label", "rows", "resize", "scale")),
    "restore": Operation(restore, endings=IMAGES, options=("label", "rows", "resize", "scale")),
    "sample": Operation(sample, (0,), IMAGES, ("label", "rows", "resize", "scale", "count", "seed", "fit")),
    "interpolate": Operation(interpolate, (1, 2), IMAGES, ("label", "rows", "resize", "scale", "steps", "how")),
    "traverse": Operation(traverse, (0,), IMAGES, ("label", "scale", "steps", "units", "range")),
    "arithmetic": Operation(arithmetic, (1,), IMAGES, ("label", "scale")),
    "score": Operation(score),
    "nll": Operation(nll),
}


def _of_examples(run: "Trained", paths: list[str], options: Any, name: str, function: Callable) -> Result:
    given = given_in(run, paths[0], options, "x")
    values = _in_parts(run, function, given, labels_of(run, options, given), options)
    return Result({name: values}, given.single, _beside(run, given))


def given_in(run: "Trained", path: str, options: Any, letter: str) -> Given:
    """What IN holds, `rows` of it where these were chosen: examples if the letter is x, codes if it is z."""
    given = read(path, run.examples, letter, options.resize)
    if letter == "x":
        single = named(given, lambda: run.examples.is_single(given.values.shape))
    else:
        single = given.values.ndim == 1
    given = dataclasses.replace(given, single=single)
    if options.rows is None:
        return given
    if single:
        raise InputError(f"--rows: {path} holds a single one; leave the option out")
    return given.rows(options.rows)


def _in_parts(run: "Trained", function: Callable, given: Given, label: Any, options: Any) -> np.ndarray:
    """`function`(model, values, label) of all values, some batches at a time; draws are those of a single call."""
    from aejax.inference.batches import rows_of_batch  # imports jax

    values, batch = given.values, rows_of_batch(run.examples.form)
    size = BATCHES * batch
    if given.single or len(values) <= size:
        return named(given, lambda: function(run, values, label))
    label = (
        run.examples.numbers(label, len(values)) if run.experiment.model.is_conditional and label is not None else None
    )
    results: Any = None
    for start in range(0, len(values), size):
        rows = slice(start, start + size)
        model = dataclasses.replace(run, first=start // batch)
        of_part = None if label is None else label[rows]
        part = named(given, lambda: function(model, values[rows], of_part))  # noqa: B023
        if results is None:
            results = np.empty((len(values), *part.shape[1:]), part.dtype)
        results[rows] = part
        options.show(min(start + size, len(values)), len(values))
    return results


def named(given: Given, function: Callable) -> Any:
    """What the function returns; an InputError of the examples or codes names their file instead of x or z."""
    try:
        return function()
    except InputError as error:
        text = str(error)
        raise InputError(f"{given.source}: {text[3:]}" if text[:3] in ("x: ", "z: ") else text) from None


def _label(run: "Trained", word: str | None) -> Any:
    """The label that --label names: the name or the number of one, or an .npy with one for each; None without it."""
    if word is None or word in run.labels or not (word.isdigit() or word.endswith(".npy")):
        return word
    if word.isdigit():
        return int(word)
    return _numbered(run, read(word, run.examples, "z").values)


def labels_of(run: "Trained", options: Any, given: Given) -> Any:
    """The label of each example: that of the command line, else those beside the examples."""
    if options.label is not None or given.labels is None:
        return _label(run, options.label)
    return _beside_labels(run, given)


def _beside_labels(run: "Trained", given: Given) -> Any:
    """The labels beside examples, None for a model that does not look at them."""
    return _numbered(run, given.labels) if run.experiment.model.is_conditional else None


def _numbered(run: "Trained", labels: Any) -> Any:
    """Labels [N], as they are in a file; a table has numbers as texts."""
    texts = labels.tolist() if labels.dtype.kind == "U" else []
    if texts and not set(texts) <= set(run.labels) and all(text.isdigit() for text in texts):
        return np.array([int(text) for text in texts])
    return labels


def _beside(run: "Trained", given: Given) -> dict[str, np.ndarray]:
    """Names and labels of examples, which results keep: labels by name."""
    beside = {} if given.names is None else {"name": given.names}
    if given.labels is None:
        return beside
    labels = _numbered(run, given.labels)
    if labels.dtype.kind in "iu" and run.labels and labels.min() >= 0 and labels.max() < len(run.labels):
        labels = np.array(run.labels)[labels]
    return beside | {"label": labels}
