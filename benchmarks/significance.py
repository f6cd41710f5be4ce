"""How often the comparison finds a difference between models that are equal, and how often one that there is.

    python -m benchmarks.significance     prints the tables of docs/comparison.md; 4 minutes on 2 cores

Each trial draws n runs of each model from one law and judges all pairs of models as `aejax.compare` does. The share
of trials with any claim must not be above 5 %. Power: one of two models is better by a number of standard deviations.
"""

import numpy as np

from aejax.compare.intervals import LEVEL, paired

TRIALS, BATCH = 40_000, 2000
MODELS, SEEDS = (2, 4, 10), (3, 4, 5, 6, 8, 16)
LAWS = {
    "normal": lambda rng, size: rng.normal(size=size),
    "exponential": lambda rng, size: rng.exponential(size=size),
    "bimodal": lambda rng, size: rng.normal(size=size) + 20 * rng.integers(0, 2, size),
    "coin flip": lambda rng, size: rng.integers(0, 2, size).astype(float),
    "20 % stuck": lambda rng, size: np.where(rng.random(size) < 0.2, 30.0, rng.normal(size=size)),
}


def claims(law, models, seeds, trials, better=0.0, seed=0):
    """The share of trials in which any pair of models is told apart; the first one is better by `better`."""
    first, second = np.triu_indices(models, 1)
    count = 0
    for batch in range(trials // BATCH):
        value_RxKxn = law(np.random.default_rng([seed, models, seeds, batch]), (BATCH, models, seeds))
        value_RxKxn[:, 0] += better
        difference_RxMxn = value_RxKxn[:, first] - value_RxKxn[:, second]
        p_RxM = paired(difference_RxMxn.reshape(-1, seeds)).reshape(BATCH, -1)
        # Holm's first step decides whether there is any claim; nan are no part of the family.
        smallest_R = np.fmin.reduce(p_RxM, axis=1) * np.sum(~np.isnan(p_RxM), axis=1)
        count += np.sum(smallest_R < 1 - LEVEL)
    return count / (trials // BATCH * BATCH)


def main():
    """Prints both tables."""
    print(f"| models, pairs | n | {' | '.join(LAWS)} |\n| --- | --- |{' ---: |' * len(LAWS)}")
    for models in MODELS:
        for seeds in SEEDS:
            shares = [claims(law, models, seeds, TRIALS // (4 if models == 10 else 1)) for law in LAWS.values()]
            cells = " | ".join(f"{share:.1%}" for share in shares)
            print(f"| {models}, {models * (models - 1) // 2} | {seeds} | {cells} |", flush=True)
    differences = (1, 2, 3, 5)
    print(f"\n| n | {' | '.join(f'{each} sd' for each in differences)} |\n| --- |{' ---: |' * len(differences)}")
    for seeds in SEEDS:
        shares = [claims(LAWS["normal"], 2, seeds, 4000, better, seed=1) for better in differences]
        print(f"| {seeds} | {' | '.join(f'{share:.0%}' for share in shares)} |", flush=True)


if __name__ == "__main__":
    main()
