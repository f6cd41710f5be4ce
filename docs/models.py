"""docs/models.md: every model on four data sets, from the folders of its runs.

    python docs/models.py train DIR [DATA ...]     the sweeps, one after another; those that are there are not run again
    python docs/models.py write DIR                docs/models.md from them

`train` needs MNIST and Fashion-MNIST prepared (python -m aejax.data prepare data=mnist data.manual_dir=FOLDER).
"""

import json
import subprocess
import sys
from pathlib import Path

from aejax.comparison.tables import load, table

NARROW = "model=pca,linear_ae,ae,conv_ae,contractive_ae,stacked_ae,rbm_ae,vae,beta_vae,conv_vae"
DEEP = "model=deep_ae"  # takes as long as most of these together
WIDE = "model=sparse_ae,l1_ae,topk_ae"  # codes of 64 units, of which an example uses few
SMALL = ["steps=2000", "seed=range(8)"]
LARGE = ["data.limit=10000", "epochs=10", "log_points=10", "evaluate.groups=[reconstruction,code,separation]"]
DATA = {
    "letters": [*SMALL, "latent_dim=2"],
    "emoji": [*SMALL, "latent_dim=8"],
    "mnist": [*LARGE, "seed=range(3)", "latent_dim=16"],
    "fashion_mnist": [*LARGE, "seed=range(3)", "latent_dim=16"],
}
METRICS = {"recon/mse": "test MSE", "separation/knn_accuracy": "5-NN accuracy", "separation/silhouette": "silhouette"}


def sweeps(data):
    """The words of the sweeps of a data set, by the name of their folder."""
    common = [f"data={data}", "figures=false", "track=off"]
    narrow, deep = ([models, *common, *DATA[data]] for models in (NARROW, DEEP))
    return {
        "narrow": narrow,
        "deep": deep,
        "wide": [WIDE, *common, *(word for word in DATA[data] if "latent_dim" not in word)],
    }


def train(folder, chosen):
    """Runs the sweeps, or what is missing of them."""
    for data in chosen:
        for name, words in sweeps(data).items():
            words = [sys.executable, "-m", "aejax", "-m", *words, f"hydra.sweep.dir={folder / data / name}"]
            subprocess.run(words, check=False)  # a job that fails is told, and counted in the table


def write(folder):
    """docs/models.md."""
    made = [data for data in DATA if (folder / data).is_dir()]
    lines = ["# The models, compared", ""]
    lines += [
        "Made by `python docs/models.py write DIR` from the runs of",
        f"`python docs/models.py train DIR {' '.join(made)}`: the defaults of each model, nothing tuned to a data set;",
        "the mean over seeds ± half of its 95 % interval (Student's t). Seconds are those of training a run among the",
        "lanes of its program, on 2 cores busy with other work. Letters and emoji have no held-out examples; of MNIST",
        "and Fashion-MNIST a run takes 10,000 training images, 10 epochs and 3 seeds.",
    ]
    for data in made:
        lines += section(folder / data, data)
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n")


def section(folder, data):
    """The lines of a data set."""
    found = table([folder], list(METRICS), ["model", "latent_dim"])
    seconds = seconds_of(folder)
    lines = ["", f"## {data}", ""]
    lines += [f"`python -m aejax -m {' '.join(words)}`" + "  " for words in sweeps(data).values()]
    if "baseline/mean_mse" in load([folder]).metrics:  # not where the evaluation is kept short
        floor = table([folder], ["baseline/mean_mse"], [])["baseline/mean_mse"].iloc[0]
        lines += ["", f"The mean image has a test MSE of {floor:.4f}."]
    lines.append("")
    lines += [f"| model | units | {' | '.join(METRICS.values())} | seconds | runs |", "| --- |" + " --- |" * 6]
    for _, row in found.sort_values("recon/mse").iterrows():
        cells = [interval(row, name) for name in METRICS]
        took = seconds.get((row["model"], row["latent_dim"]))
        shown = "-" if took is None else f"{took:.1f}"
        lines.append(f"| {row['model']} | {row['latent_dim']} | {' | '.join(cells)} | {shown} | {row['recon/mse n']} |")
    return [*lines, *("\n" + note.replace(f"{folder}/", "") for note in found.attrs["notes"])]


def interval(row, name):
    """A mean and half of its interval."""
    mean, low, high = (row[key] for key in (name, f"{name} low", f"{name} high"))
    return "-" if mean != mean else f"{mean:.3g}" if low != low else f"{mean:.3g} ± {(high - low) / 2:.2g}"


def seconds_of(folder):
    """Seconds of training of a run of each model and code size: its program's, shared among the lanes."""
    runs = load([folder]).completed
    records = [json.loads((Path(path) / "run.json").read_text()) for path in runs["path"]]
    runs = runs.assign(seconds=[each["seconds"]["train"] / each["lanes"]["count"] for each in records])
    return runs.groupby(["model", "latent_dim"])["seconds"].mean().to_dict()


if __name__ == "__main__":
    action, folder, *chosen = sys.argv[1:]
    folder = Path(folder).absolute()
    if action == "train":
        train(folder, chosen or DATA)
    else:
        write(folder)
