"""How often the comparison finds a difference between models of one law, or of one mean, and one that there is.

    python -m benchmarks.significance     prints the tables of docs/comparison.md; a minute on one core

Each trial draws n runs of each model from one law and judges all pairs of models as `aejax.compare` does. The share
of trials with any claim must not be above 5 %. Power: one of two models is better by a number of standard deviations.
Equal means, different laws: what the 5 % do not hold for.
"""

import numpy as np

from aejax.comparison.intervals import LEVEL, paired

TRIALS, BATCH = 40_000, 2000
MODELS, SEEDS = (2, 4, 10), (3, 4, 5, 6, 8, 16)
LAWS = {
    "normal": lambda rng, size: rng.normal(size=size),
    "exponential": lambda rng, size: rng.exponential(size=size),
    "bimodal": lambda rng, size: rng.normal(size=size) + 20 * rng.integers(0, 2, size),
    "coin flip": lambda rng, size: rng.integers(0, 2, size).astype(float),
    "20 % stuck": lambda rng, size: np.where(rng.random(size) < 0.2, 30.0, rng.normal(size=size)),
}
UNLIKE_SEEDS = (4, 5, 6, 8, 16)
UNLIKE = {  # the standard deviation of a model that is normal, 0 of a constant one; the law of the other less its mean
    "constant against 20 % stuck": (0, lambda rng, size: 30.0 * (rng.random(size) < 0.2) - 6),
    "normal against 20 % stuck": (1, lambda rng, size: LAWS["20 % stuck"](rng, size) - 6),
    "constant against exponential": (0, lambda rng, size: LAWS["exponential"](rng, size) - 1),
    "constant against coin flip": (0, lambda rng, size: LAWS["coin flip"](rng, size) - 0.5),
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


def beside(std, law):
    """The law of models of which the first one is normal with mean 0, constant where std is 0."""

    def drawn(rng, size):
        value_RxKxn = law(rng, size)
        value_RxKxn[:, 0] = rng.normal(0, std, value_RxKxn[:, 0].shape)
        return value_RxKxn

    return drawn


def main():
    """Prints the three tables."""
    print(f"| models, pairs | n | {' | '.join(LAWS)} |\n| --- | --- |{' ---: |' * len(LAWS)}")
    for models in MODELS:
        for seeds in SEEDS:
            shares = [claims(law, models, seeds, TRIALS // (4 if models == 10 else 1)) for law in LAWS.values()]
            cells = " | ".join(f"{share:.1%}" for share in shares)
            print(f"| {models}, {models * (models - 1) // 2} | {seeds} | {cells} |", flush=True)
    print(f"\n| equal means, different laws | {' | '.join(f'n = {each}' for each in UNLIKE_SEEDS)} |")
    print(f"| --- |{' ---: |' * len(UNLIKE_SEEDS)}")
    for name, (std, law) in UNLIKE.items():
        shares = [claims(beside(std, law), 2, seeds, TRIALS) for seeds in UNLIKE_SEEDS]
        print(f"| {name} | {' | '.join(f'{share:.0%}' for share in shares)} |", flush=True)
    differences = (1, 2, 3, 5)
    print(f"\n| n | {' | '.join(f'{each} sd' for each in differences)} |\n| --- |{' ---: |' * len(differences)}")
    for seeds in SEEDS:
        shares = [claims(LAWS["normal"], 2, seeds, 4000, better, seed=1) for better in differences]
        print(f"| {seeds} | {' | '.join(f'{share:.0%}' for share in shares)} |", flush=True)


if __name__ == "__main__":
    main()
