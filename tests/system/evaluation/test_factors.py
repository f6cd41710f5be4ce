"""The group `disentanglement` of a run, and the UDR between runs of different seeds."""

import numpy as np
import pytest
from conftest import called, run, state_of
from sklearn.metrics import mutual_info_score

from aejax.cli import evaluate, train
from aejax.datasets.sources.shapes import Shapes
from aejax.runs.folder import Run

WORDS = ["model=vae", "data=shapes", "data.examples=400", "net.widths=[16]", "steps=60", "log_points=1"]
NAMES = {"mig", "sap", "dci_disentanglement", "dci_completeness", "dci_informativeness", "factor_vae", "beta_vae",
         "modularity", "info_m", "info_e", "info_c"}  # fmt: skip


def scores(run):
    prefix = "disentanglement/"
    return {name.removeprefix(prefix): value for name, value in run.metrics.items() if name.startswith(prefix)}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Folders of two runs that differ in their seed, and of one of another code size."""
    place = tmp_path_factory.mktemp("runs")
    for name, words in (
        ("0", ["seed=0", "latent_dim=3"]),
        ("1", ["seed=1", "latent_dim=3"]),
        ("other", ["latent_dim=2"]),
    ):
        groups = "[code]" if name == "other" else "[code,disentanglement]"
        words = [*WORDS, *words, f"evaluate.groups={groups}", "figures=false", "track=off"]
        assert called(train.main, *words, f"hydra.run.dir={place / name}") == 0
    return place


@pytest.mark.slow
def test_a_run_on_data_with_factors_has_all_scores(seeds):
    run = Run.read(seeds / "0")
    found = scores(run)
    assert found.keys() == NAMES and all(0 <= value <= 1 for value in found.values())
    assert run.record["data"]["factors"] == {"shape": 3, "scale": 6, "rotation": 8, "x": 16, "y": 16}
    z = run.codes["z"]
    edges = [np.histogram_bin_edges(unit.astype(float), 20)[1:-1] for unit in z.T]
    bins = np.stack([np.digitize(unit, edge) for unit, edge in zip(z.T, edges, strict=True)])
    factors = Shapes(400, 32, "gray", 0).load().train.factors[run.codes["index"]]
    gaps = []
    for column in factors.T:
        best = sorted(mutual_info_score(row, column) for row in bins)
        gaps.append((best[-1] - best[-2]) / mutual_info_score(column, column))
    assert found["mig"] == pytest.approx(np.mean(gaps), abs=5e-3)


def test_data_without_factors_have_no_scores(tmp_path):
    each = run(tmp_path / "run", "steps=2", "net.widths=[4]", "log_points=1", "evaluate.groups=[disentanglement]")
    assert scores(each) == {} and "disentanglement/mig" not in each.record["evaluation"]["absent"]


@pytest.mark.slow
def test_seeds_are_ranked_by_their_agreement(seeds, capsys):
    before = Run.read(seeds / "0").metrics
    assert called(evaluate.main, str(seeds / "0"), str(seeds / "1"), "--udr", "groups=[code]") == 0
    out, err = capsys.readouterr()
    runs = [Run.read(seeds / name) for name in ("0", "1")]
    values = [each.metrics["disentanglement/udr"] for each in runs]
    assert values[0] == values[1] and 0 < values[0] <= 1  # of a single pair
    assert "UDR among 2 seeds" in out and err == ""
    assert before.items() <= runs[0].metrics.items() and runs[0].record["evaluation"]["udr"] == {"runs": 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["0"], "--udr: {0} has no other run that differs in its seed only; add one"),
        (["0", "1", "other"], "--udr: {other} has no other run that differs in its seed only; add one"),
        (["0", "1", "0"], None),
    ],
)
def test_what_has_nothing_to_agree_with_is_refused(seeds, names, told, capsys):
    before = state_of(seeds)
    words = [str(seeds / name) for name in names]
    assert called(evaluate.main, *words, "--udr", "groups=[code]") == 2
    err = capsys.readouterr().err
    if told:
        assert err == f"aejax: {told.format(*words, other=seeds / 'other')}\n"
    assert err.count("\n") == 1
    assert state_of(seeds) == before
