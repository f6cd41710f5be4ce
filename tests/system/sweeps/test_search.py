"""hydra/sweeper=optuna: batches train together, the best is reported, a failed trial does not stop the search."""

import subprocess
import sys

import pytest
from commands import QUICK, sweep
from conftest import CONF
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf
from scipy import stats

from aejax.base.errors import InputError, JobFailed
from aejax.runs.folder import Run
from aejax.sweeps.search import distribution, search

optuna = pytest.importorskip("optuna", reason="the optuna extra is not installed")

SETTINGS = {"n_trials": 64, "n_jobs": 8, "direction": "minimize", "seed": 0}


class Parabola:
    """A launcher whose jobs have the objective (x - 3)^2 + y, fail beyond 8 and have none below -8."""

    def __init__(self):
        self.batches = []

    def launch(self, jobs, initial_job_idx):
        self.batches.append((initial_job_idx, jobs))
        return [self.returned(dict(word.split("=") for word in job)) for job in jobs]

    def returned(self, job):
        x, y = float(job["x"]), float(job["y"])
        if x > 8:
            return JobReturn(status=JobStatus.FAILED, _return_value=ValueError("x"))
        return JobReturn(status=JobStatus.COMPLETED, _return_value=None if x < -8 else (x - 3) ** 2 + y)


def searched(folder, *words, **changes):
    config = OmegaConf.create({"objective": "f", "hydra": {"sweep": {"dir": str(folder)}}})
    launcher = Parabola()
    search(launcher, None, config, SETTINGS | changes, list(words))
    return launcher.batches


def test_a_later_batch_may_draw_a_choice_that_is_new(command, monkeypatch):
    def untrained(jobs, *_):
        return [None] * len(jobs), InputError("was not trained")

    monkeypatch.setattr("aejax.sweeps.launch.execute", untrained)
    words = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=5", "hydra.sweeper.n_jobs=1", "hydra.sweep.dir=s"]
    status, out, _ = command("-m", *words, "model=ae,linear_ae,vae,pca")
    assert (status, out.count("was not trained")) == (1, 5)


def test_the_search_finds_the_minimum_in_batches_despite_failed_trials(tmp_path, capsys):
    batches = searched(tmp_path, "x=interval(-10,10)", "y=1", n_trials=200)
    assert [first for first, _ in batches] == list(range(0, 200, 8))
    assert {len(jobs) for _, jobs in batches} == {8}
    jobs = [dict(word.split("=") for word in job) for _, jobs in batches for job in jobs]
    assert {job["y"] for job in jobs} == {"1"}
    x = [float(job["x"]) for job in jobs]
    lost = sum(abs(value) > 8 for value in x)
    assert lost > 0
    best = min(x, key=lambda value: abs(value - 3))
    assert abs(best - 3) < 0.5
    summary = f"200 trials, {lost} of them without a result; best f {(best - 3) ** 2 + 1:.4g} in run {x.index(best)}"
    assert capsys.readouterr().out == f"{summary}: x={best}\n"
    near = sum(abs(value - 3) < 2 for value in x[100:])
    assert stats.binomtest(near, 100, 0.2, alternative="greater").pvalue < 1e-3  # 0.2 drawn blindly


def test_the_same_seed_gives_the_same_trials_and_another_does_not(tmp_path):
    words = ["x=interval(-1,1)", "y=1,2,3"]
    first = searched(tmp_path, *words)
    assert searched(tmp_path, *words) == first
    assert searched(tmp_path, *words, seed=1) != first


def test_maximize_finds_the_largest(tmp_path, capsys):
    searched(tmp_path, "x=range(0,8)", "y=0", direction="maximize")
    assert "best f 16 in run" in capsys.readouterr().out  # of (7 - 3)^2


def test_a_later_word_replaces_an_axis(tmp_path):
    batches = searched(tmp_path, "x=interval(-1,1)", "y=0,1", "x=2")
    assert all("x=2" in job and len(job) == 2 for _, jobs in batches for job in jobs)


def test_a_search_without_any_result_fails(tmp_path, capsys):
    with pytest.raises(JobFailed):
        searched(tmp_path, "x=9", "y=1,2", n_trials=3)
    assert "3 trials, 3 of them without a result" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "changes", "message"),
    [
        (["x=1", "y=1"], {}, "hydra/sweeper=optuna: nothing varies"),
        (["x=tag(log,interval(0,1))"], {}, "x=tag(log,interval(0,1)): `low > 0` must hold"),
        (["x=range(1,1)"], {}, "x=range(1,1): "),
        (["x=1,2"], {"n_jobs": 0}, "hydra.sweeper.n_jobs=0: must be a whole number at least 1"),
        (["x=1,2"], {"direction": "up"}, "hydra.sweeper.direction=up: must be one of minimize, maximize"),
        (["x=1,2"], {"sampler": "x"}, "hydra.sweeper.sampler: no such key"),
    ],
)
def test_a_wrong_search_is_refused(words, changes, message, tmp_path):
    with pytest.raises(InputError) as caught:
        searched(tmp_path / "s", *words, **changes)
    assert str(caught.value).startswith(message)
    assert not (tmp_path / "s").exists()


def test_the_distribution_of_each_kind_of_axis():
    kinds = optuna.distributions
    expected = {
        "x=a,b": kinds.CategoricalDistribution(["a", "b"]),
        "x=[8,4],[2]": kinds.CategoricalDistribution(["[8,4]", "[2]"]),
        "x=range(2,9,3)": kinds.IntDistribution(2, 8, step=3),
        "x=range(0.5,2,0.5)": kinds.FloatDistribution(0.5, 1.5, step=0.5),
        "x=interval(1,4)": kinds.FloatDistribution(1, 4),
        "x=tag(log,interval(0.001,1))": kinds.FloatDistribution(0.001, 1, log=True),
        "x=int(interval(1,9))": kinds.IntDistribution(1, 9),
    }
    for word, drawn_from in expected.items():
        [override] = OverridesParser.create().parse_overrides([word])
        assert distribution(optuna, override) == drawn_from, word


@pytest.mark.slow
def test_a_search_on_letters(tmp_path):
    words = ["optim=sgd", "optim.clip=null", "optim.lr=0.0001,0.001,0.01,1e30,-1", "hydra/sweeper=optuna"]
    done = sweep(tmp_path, *words, *QUICK, "hydra.sweeper.n_trials=9", "hydra.sweeper.n_jobs=3", "hydra.sweep.dir=s")
    runs = {path.parent.name: Run.read(path.parent) for path in (tmp_path / "s").glob("*/run.json")}
    scores = {name: run.history[-1]["valid/mse"] for name, run in runs.items() if run.record["status"] == "completed"}
    best = min(scores, key=lambda name: (scores[name], int(name)))
    assert done.stdout.splitlines()[-1].startswith("9 trials, ")
    assert f"best valid/mse {scores[best]:.4g} in run {best}: optim.lr=" in done.stdout
    assert done.stdout.count("-> 1 program of") == 3
    assert "Error" not in done.stderr
    for run in runs.values():
        assert run.score("valid/mse") == scores.get(run.path.name)
    with pytest.raises(InputError, match="objective=recon/msee: no such metric; did you mean recon/mse"):
        runs[best].score("recon/msee")
    assert runs[best].score("recon/mse") == runs[best].metrics["recon/mse"]


@pytest.mark.slow
def test_trials_without_the_metric_fail(tmp_path):
    words = [
        "hydra/sweeper=optuna",
        "seed=1,2",
        "objective=recon/msee",
        "hydra.sweep.dir=s",
        *QUICK,
        "hydra.sweeper.n_trials=2",
    ]
    done = subprocess.run([sys.executable, "-m", "aejax", "-m", *words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert "failed, 2 jobs: objective=recon/msee: no such metric; did you mean recon/mse" in done.stdout


@pytest.mark.slow
def test_a_missing_optuna_names_the_extra(tmp_path):
    script = "import sys; sys.modules['optuna'] = None; from aejax.cli.train import main; main()"
    words = ["-m", "hydra/sweeper=optuna", "seed=1,2"]
    done = subprocess.run([sys.executable, "-c", script, *words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "hydra/sweeper=optuna: requires Optuna: pip install 'aejax[optuna]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_settings_of_the_search_are_those_in_conf():
    conf = OmegaConf.load(CONF / "hydra" / "sweeper" / "optuna.yaml")
    assert set(conf) - {"_target_", "params"} == SETTINGS.keys()
