"""Published results: the files in sweeps/references/, what is told of their runs, and that short cases reach them.

AEJAX_ORIGINALS may name a folder that holds the original files of MNIST in mnist/.
"""

import json
import os
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CONF, job, run, trained
from made import make_run
from test_sweeps import expanded

from aejax.base.errors import InputError
from aejax.cli.completion import candidates
from aejax.datasets.form import Form
from aejax.metrics.lookup import row_of
from aejax.models import autoencoder
from aejax.models.batch import Batch
from aejax.models.objective import objective
from aejax.models.principal_components import principal_components
from aejax.training.lanes import lane
from aejax.training.plan import groups

sys.path.append(str(CONF.parent))  # where benchmarks/ is
from benchmarks import floors, reference_results, references
from benchmarks.published import Case, Number
from benchmarks.reference_results import Result

FOLDER = CONF.parent / "sweeps" / "references"
ORIGINALS = os.environ.get("AEJAX_ORIGINALS")
FEW = ["epochs=null", "steps=5", "log_points=1"]


def test_each_file_is_a_case():
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == sorted(references.CASES)
    assert candidates([], "+sweep=references/pc") == ["+sweep=references/pca "]


@pytest.mark.parametrize("name", references.CASES)
def test_a_file_tells_its_question_its_commands_what_was_published_and_what_was_found(name):
    case, text = references.CASES[name], (FOLDER / f"{name}.yaml").read_text()
    first, question, command, *more = text[: text.index("\ndefaults:")].splitlines()
    assert first == "# @package _global_" and question.endswith("?")
    assert command.startswith(f"#   python -m aejax -m +sweep=references/{name} ")
    assert re.search(r" \d+ (s|minutes) (of CPU time on 2 cores|on one core)|not timed yet", command)
    note = " ".join(line.removeprefix("# ") for line in more)
    assert "Published (" in note and "Found: " in note
    assert bool(case.full) is ("On a GPU:" in note) and f"+sweep=references/{name} {case.full}" in text
    for number in case.numbers:
        percent = f"{100 - 100 * float(number.published):.2f}" if "probe" in number.metric else number.published
        assert re.search(rf"(?<![\d.]){re.escape(percent.lstrip('-'))}(?![\d])", note), number.label
        assert row_of(number.metric)


@pytest.mark.parametrize("name", references.CASES)
def test_a_file_is_as_many_jobs_and_programs_as_it_says_of_three_seeds_and_more(name):
    jobs = expanded(f"references/{name}")
    data = [] if name.startswith("letters") else ["data=digits"]  # no prepared set is needed
    binary = ["data.validation=0.1"] if name == "vae_static" else []
    of_one_seed = [job(f"+sweep=references/{name}", *words, *data, *binary) for words in jobs if "seed=0" in words]
    assert f"{len(jobs)} jobs as {len(groups(of_one_seed))} program" in (FOLDER / f"{name}.yaml").read_text()
    assert len(jobs) >= 3 * len(of_one_seed)


def result(value, half, number, full=""):
    case = Case("0", "paper", "setting", (number,), "of few epochs", full)
    return Result(case, number, value, half, 3, "2 epochs", 1.0, "epochs=2")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["bogus"], "bogus: no such action; known: show, torch, train, write"),
        (["wirte", "x"], "wirte: no such action; did you mean write? known: show, torch, train, write"),
        (["epochs=3"], "epochs=3: no such action; known: show, torch, train, write"),
        (["train"], "train needs a folder and the names of cases; known: "),
        (["train", "x", "pcb"], "pcb: no such case; did you mean pca? known: "),
        (["show"], "show needs the folders of finished sweeps"),
        (["write", "absent"], "absent: no such folder"),
        (["torch", "pyproject.toml"], "pyproject.toml: no such folder"),
        (["write", "tests", "epochs=3"], "epochs=3: write takes no settings"),
        (["write", "tests"], "tests: no finished sweep of sweeps/references/ is there or below"),
        (["--quick", "one", "two"], "two: --quick takes one folder"),
        (["--quik"], "unrecognized arguments: --quik; --help lists all options"),
    ],
)
def test_a_wrong_word_is_one_line_and_the_page_stays(words, line, monkeypatch, capsys):
    monkeypatch.chdir(CONF.parent)
    before = references.PAGE.read_bytes()
    with pytest.raises(SystemExit) as stopped:
        references.main(words)
    told = capsys.readouterr()
    assert stopped.value.code == 2 and told.out == "" and told.err.count("\n") == 1
    assert line in told.err and references.PAGE.read_bytes() == before


def test_another_file_of_the_name_is_no_sweep_and_a_damaged_one_is_named(tmp_path):
    (tmp_path / "sweep.json").write_text('{"name": "sweep", "rows": []}')
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "sweep.json").write_text("[]")
    assert list(reference_results.sweeps([tmp_path])) == []
    (tmp_path / "more" / "sweep.json").write_text("{")
    with pytest.raises(InputError, match=r"more/sweep\.json: damaged"):
        list(reference_results.sweeps([tmp_path]))


def test_a_folder_that_is_named_twice_counts_once(tmp_path):
    made = tmp_path / "pca"
    made.mkdir()
    (made / "sweep.json").write_text(json.dumps({"overrides": ["+sweep=references/pca", "epochs=2", "track=off"]}))
    assert list(reference_results.sweeps([tmp_path, made, tmp_path])) == [("pca", made, "epochs=2")]


@pytest.mark.parametrize(
    ("value", "half", "metric", "published", "interval", "verdict"),
    [
        (13.866, 0.0, "recon/sse", "13.87", 0.0, "reached"),  # by rounding alone
        (13.88, 0.0, "recon/sse", "13.87", 0.0, "worse: of few epochs"),
        (13.8, 0.0, "recon/sse", "13.87", 0.0, "better"),
        (13.8, 0.1, "recon/sse", "13.87", 0.0, "reached"),
        (-107.4, 0.1, "elbo", "-107.05", 0.25, "reached"),
        (-107.5, 0.1, "elbo", "-107.05", 0.25, "worse: of few epochs"),
        (-100.0, float("nan"), "elbo", "-107.05", 0.25, "better"),
        (7.6, 0.1, "likelihood/rate", "7.2", 0.0, "above"),  # has no direction
        (0.0, 0.0, "recon/pixel_errors_max", "0", 0.0, "reached"),
        (0.3, 0.0, "recon/pixel_errors_max", "0", 0.0, "worse: of few epochs"),  # a published 0 is exact
    ],
)
def test_a_verdict_is_computed_from_intervals_rounding_and_direction(value, half, metric, published, interval, verdict):
    assert result(value, half, Number("", metric, published, {}, interval)).verdict == verdict


def test_a_worse_result_says_first_that_its_budget_was_shortened():
    number = Number("", "recon/sse", "1.0")
    assert result(2.0, 0.1, number, "epochs=9").verdict == "worse: shortened; of few epochs"
    unknown = Case("0", "paper", "setting", (number,))
    assert Result(unknown, number, 2.0, 0.1, 3, "", 1.0, "").verdict == "worse: the reason is not known"


def test_a_budget_is_full_only_with_all_words_of_the_full_command():
    number = Number("", "recon/sse", "1.0")
    assert result(1.0, 0.1, number).is_full and result(1.0, 0.1, number, "epochs=2").is_full
    assert not result(1.0, 0.1, number, "epochs=2 optim.lr=0.1").is_full


def test_the_table_is_of_runs_by_seed(tmp_path):
    """The mean over digits comes before the interval over seeds; a case without runs tells its command."""
    values = {(digit, seed): 0.8 + 0.01 * digit + 0.02 * seed for digit in range(2) for seed in range(3)}
    for place, ((digit, seed), auroc) in enumerate(values.items()):
        folder = tmp_path / "one_class" / str(place)
        made = {"seed": seed, "data": "mnist", "data__normal": [digit], "epochs": 3}
        record = {"seconds": {"train": 60.0}, "lanes": {"count": 3}}
        make_run(folder, {"anomaly/auroc": auroc}, record=record, **made)
    sweep = {"overrides": ["+sweep=references/one_class", "track=off", "epochs=3"]}
    (tmp_path / "one_class" / "sweep.json").write_text(json.dumps(sweep))
    found = references.results([tmp_path])
    [one] = found["one_class"]
    assert one.value == pytest.approx(0.825) and one.seeds == 3
    assert one.half == pytest.approx(4.303 * 0.02 / 3**0.5, rel=1e-3)  # Student's t with two degrees of freedom
    assert one.words == "epochs=3" and not one.is_full and one.seconds == 20
    lines = list(references.page(found))
    [line] = [line for line in lines if line.startswith("| 12 |")]
    assert (
        "0.825 ± 0.050" in line
        and "3 epochs, shortened" in line
        and "(`epochs=3`)" in line
        and "worse: shortened; one seed reached" in line
    )
    [line] = [line for line in lines if line.startswith("| 14 |")]
    assert "not measured yet: `+sweep=references/k_sparse`" in line


def test_the_page_is_what_the_record_has():
    by_case = reference_results.read(json.loads(references.RECORD.read_text()))
    assert references.PAGE.read_text() == "\n".join(references.page(by_case)) + "\n", "run benchmarks references write"
    assert reference_results.recorded(by_case) == json.loads(references.RECORD.read_text())


@pytest.mark.parametrize("seeds", [2, 3])
def test_a_sweep_that_is_written_replaces_its_own_numbers_and_no_others(tmp_path, monkeypatch, seeds):
    for name in ("PAGE", "RECORD"):
        copy = tmp_path / getattr(references, name).name
        copy.write_bytes(getattr(references, name).read_bytes())
        monkeypatch.setattr(references, name, copy)
    before = references.PAGE.read_text().splitlines()

    def written(folder, words):
        for seed in range(seeds):
            record = {"seconds": {"train": 60.0}, "lanes": {"count": 3}}
            values = {"nll": 90.0 + seed, "likelihood/rate": 25.0}
            made = {"seed": seed, "data": "mnist", "latent_dim": 20, "epochs": 24}
            make_run(folder / str(seed), values, record=record, **made)
        (folder / "sweep.json").write_text(json.dumps({"overrides": ["+sweep=references/vae_latent_dim", *words]}))
        references.main(["write", str(folder)])
        after = references.PAGE.read_text().splitlines()
        return [line for line in after if line not in before], [line for line in before if line not in after]

    value = "91.00 ± 2.48" if seeds == 3 else "90.50"
    added, gone = written(tmp_path / "again", ["latent_dim=5,20"])
    assert [line.count("d = 20") for line in (*added, *gone)] == [1] * 4
    assert f"| {value} | {seeds} | 24 epochs, shortened | 20 |" in added[0]
    added, gone = written(tmp_path / "longer", ["epochs=24"])
    assert len(added) == 4 and len(gone) == 2  # another budget has rows of its own
    assert f"| {value} | {seeds} | 24 epochs, shortened (`epochs=24`) | 20 |" in added[1]
    references.main(["write"])  # from the record alone
    assert [line for line in references.PAGE.read_text().splitlines() if line not in before] == added


@pytest.mark.slow
def test_case_1_every_letter_is_exact_for_a_seed_of_three(tmp_path):
    """The published number is of one seed; rounding decides which one of ten keeps a wrong pixel."""
    [found] = measured(tmp_path, "letters_exact", "seed=0,1,2")
    assert found.value < 1  # the mean of three whole numbers


@pytest.mark.slow
def test_case_2_letters_restored(tmp_path):
    """With a third of the steps, at least the published shares less 0.02."""
    found = measured(tmp_path, "letters_denoising", "seed=0,1,2", "steps=2000")
    assert [each.value >= float(each.number.published) - 0.02 for each in found] == [True] * 3


def measured(folder, name, *words):
    """The Results of a case that is trained here."""
    references.train(folder, {name: []}, words)
    return references.results([folder])[name]


def test_case_3_is_the_error_summed_over_an_image(tmp_path):
    """PCA as the case has it, on digits: numpy's, from the singular vectors of the training images."""
    here = run(tmp_path / "run", "+sweep=references/pca", "data=digits", "data.validation=0")
    train, test = (here_split.reshape(len(here_split), -1) / 255 for here_split in split_of(here))
    mean = train.mean(axis=0)
    basis = np.linalg.svd(train - mean, full_matrices=False)[2][:30]
    rest = (test - mean) - (test - mean) @ basis.T @ basis
    assert here.metrics["recon/sse"] == pytest.approx((rest**2).sum(axis=1).mean(), rel=1e-4)


def split_of(here):
    """Training and test images of digits."""
    dataset = job("+sweep=references/pca", "data=digits", "data.validation=0").dataset
    return dataset.train.x, dataset.test.x


@pytest.mark.slow
@pytest.mark.skipif(ORIGINALS is None, reason="AEJAX_ORIGINALS names no folder of original files of MNIST")
def test_case_3_pca_of_mnist():
    """The published error, of the images themselves; the test above has the way of the sweep."""
    train, test = (floors.read(Path(ORIGINALS) / "mnist", part)[0] for part in ("train", "t10k"))
    form = Form("mnist", "gray", (28, 28, 1), len(train), 0, 10, "")
    mean, components = principal_components(train, form, 30)
    rest = np.asarray(form.scaled(test)) - np.asarray(mean)
    rest -= (rest @ np.asarray(components).T) @ np.asarray(components)
    assert round(float((rest**2).sum(axis=1).mean()), 2) == 13.87


def test_case_5_minimizes_the_loss_of_flax_s_example():
    """Cross-entropy and KL, summed over pixels and units, mean over the batch, from the same draw, in numpy."""
    one = job("+sweep=references/vae_static", "data=digits", "data.validation=0.1", *FEW)
    state, _ = trained(one)
    params = jax.device_get(lane(state.params, 0))
    x_BxP = one.experiment.form.scaled(jnp.asarray(one.dataset.arrays().test[:32]))
    batch, at = Batch(x_BxP, x_BxP), jnp.int32(3)
    found = objective(one.experiment, params, batch, at)[0]
    key = autoencoder.key_for(one.experiment.seed, autoencoder.Purpose.POSTERIOR, at)
    z_BxZ = np.asarray(autoencoder.encode(one.experiment, params, x_BxP, key).z, np.float64)

    x = np.asarray(x_BxP, np.float64)
    assert set(np.unique(x)) == {0.0, 1.0}
    hidden = np.maximum(dense(params["encoder"], x), 0)
    mean, log_variance = (dense(params["to_code"][head], hidden) for head in ("mean", "log_variance"))
    assert np.std((z_BxZ - mean) / np.exp(log_variance / 2)) == pytest.approx(1, abs=0.1)  # mean + std * eps
    logits = dense(params["decoder"], np.maximum(dense(params["from_code"], z_BxZ), 0))
    entropy = -(x * np.log(1 / (1 + np.exp(-logits))) + (1 - x) * np.log(1 / (1 + np.exp(logits)))).sum(axis=1)
    kl = -0.5 * (1 + log_variance - mean**2 - np.exp(log_variance)).sum(axis=1)
    assert float(found) == pytest.approx((entropy + kl).mean(), rel=1e-5)


def dense(params, x):
    """The only layer in these parameters, applied to x in double precision."""
    [layer] = [params] if "kernel" in params else params.values()
    return x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)
