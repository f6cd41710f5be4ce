"""How benchmarks take time: the sides take turns in one process, and a ratio is that of neighbors in time."""

import dataclasses
import statistics
import time

ROUNDS = 7


@dataclasses.dataclass(frozen=True)
class Spread:
    """The median, smallest and largest of some numbers, one for each round."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, numbers):
        """That of these numbers."""
        numbers = list(numbers)
        return cls(statistics.median(numbers), min(numbers), max(numbers), len(numbers))


def interleaved(sides, rounds=ROUNDS, clock=time.perf_counter):
    """The seconds of each round of each side, {name: [seconds]}, for `sides` {name: call}: A, B, A, B, ….

    Every side is called once before, which warms it up and does not count. A call must wait for its result.
    """
    for call in sides.values():
        call()
    seconds = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            started = clock()
            call()
            seconds[name].append(clock() - started)
    return seconds


def beside(ours, others, rounds=ROUNDS, clock=time.perf_counter):
    """The seconds of our call and of each other one, {name: ([ours], [other])}: ours A, B, A, C, A, B, A, C, ….

    Ours takes its turn before each of the `others` {name: call}, so that a ratio is of neighbors; also warmed up.
    """
    for call in (ours, *others.values()):
        call()
    seconds = {name: ([], []) for name in others}
    for _ in range(rounds):
        for name, other in others.items():
            for call, taken in zip((ours, other), seconds[name], strict=True):
                started = clock()
                call()
                taken.append(clock() - started)
    return seconds


def rates(seconds, amount):
    """Units a second of each round, where a call does this `amount` of units."""
    return [amount / each for each in seconds]


def ratio(above, below):
    """The Spread of the ratio of two sides, round by round."""
    return Spread.of(one / other for one, other in zip(above, below, strict=True))


def amount_for(call, seconds, clock=time.perf_counter):
    """How many units `call(amount)` does in so many seconds: doubled until a call takes a quarter of that, then scaled.

    The first call warms up.
    """
    call(1)
    amount = 1
    while True:
        started = clock()
        call(amount)
        took = clock() - started
        if took >= seconds / 4:
            return max(1, round(amount * seconds / took))
        amount *= 2


def median_seconds(call, repeats):
    """The median of the seconds that a call takes, after one that warms up."""
    return statistics.median(interleaved({"": call}, repeats)[""])
