"""Windows of six sensors on a rotating machine, generated, with labeled faults: for anomaly work.

A machine turns at a frequency of its own, 2 to 4 turns a window, at a load of 0.5 to 1.5. Six channels of 32 steps:
vibration along three axes (the turn, its second harmonic and noise, amplitude by load), motor current (load, ripple at
twice the turn), temperature (load, a slow trend), speed (the frequency). Each fault changes one thing:

| label | what changes |
| --- | --- |
| imbalance | vibration at the turn is three times as strong along the first two axes |
| bearing | decaying knocks at 3.6 a turn, along all three axes |
| drift | the temperature rises over the window |
| dropout | one channel stands still from a step on |
| spike | one step of one channel is far off |
"""

import numpy as np
from flax import struct

from aejax.datasets.dataset import Dataset, Split
from aejax.settings.fields import leaf_float, static_int

CHANNELS = ("vibration x", "vibration y", "vibration z", "current", "temperature", "speed")
FAULTS = ("normal", "imbalance", "bearing", "drift", "dropout", "spike")
STEPS = 32
NOISE = 0.05


@struct.dataclass
class Sensors:
    """Training windows are normal but for a share `contamination`; half of the test windows are faulty."""

    examples: int = static_int(20, 1_000_000)
    test_examples: int = static_int(10, 1_000_000)
    contamination: float = leaf_float(0, 1)
    generator_seed: int = static_int(0, 2**32 - 1)

    def load(self):
        """The Dataset, real, [N, 6 x 32], one channel after another."""
        rng = np.random.default_rng(self.generator_seed)
        train, test = (
            self._split(rng, self.examples, float(self.contamination)),
            self._split(rng, self.test_examples, 0.5),
        )
        note = f"channels {', '.join(CHANNELS)}, each of {STEPS} steps"
        return Dataset("sensors", "real", train, test=test, label_names=FAULTS, note=note, license="part of aejax, MIT")

    def _split(self, rng, examples, faulty):
        faults = round(examples * faulty)
        y_N = np.concatenate(
            [np.zeros(examples - faults, np.int32), 1 + np.arange(faults, dtype=np.int32) % (len(FAULTS) - 1)]
        )
        y_N = rng.permutation(y_N)
        x_NxCxT = np.stack([window(rng, FAULTS[label]) for label in y_N])
        return Split(x_NxCxT.reshape(examples, -1).astype(np.float32), y_N)


def window(rng, fault):
    """One window [6, 32]."""
    t_T = np.arange(STEPS) / STEPS
    turns, load, phase = rng.uniform(2, 4), rng.uniform(0.5, 1.5), rng.uniform(0, 2 * np.pi)
    angle_T = 2 * np.pi * turns * t_T + phase
    strength = 3.0 if fault == "imbalance" else 1.0
    x_CxT = np.stack(
        [
            0.3 * load * (strength * np.sin(angle_T) + 0.3 * np.sin(2 * angle_T)),
            0.3 * load * (strength * np.cos(angle_T) + 0.3 * np.cos(2 * angle_T)),
            0.15 * load * np.sin(angle_T + 1),
            load - 1 + 0.1 * np.sin(2 * angle_T),
            0.8 * (load - 1) + 0.1 * rng.normal() * t_T,
            np.full(STEPS, turns - 3),
        ]
    )
    x_CxT += NOISE * rng.normal(size=x_CxT.shape)
    if fault == "bearing":
        since_T = (3.6 * turns * t_T + rng.uniform()) % 1  # of the time between two knocks
        x_CxT[:3] += np.exp(-6 * since_T) * rng.uniform(0.5, 0.9, (3, 1))
    elif fault == "drift":
        x_CxT[4] += rng.uniform(0.6, 1.2) * t_T
    elif fault == "dropout":
        channel, start = rng.integers(len(CHANNELS)), rng.integers(4, STEPS // 2)
        x_CxT[channel, start:] = x_CxT[channel, start]
    elif fault == "spike":
        x_CxT[rng.integers(len(CHANNELS)), rng.integers(STEPS)] += rng.choice([-1, 1]) * rng.uniform(1.5, 2.5)
    return x_CxT
