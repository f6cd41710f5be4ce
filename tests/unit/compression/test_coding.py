"""Coders and the numbers that they code, against entropies and distributions that are known."""

import numpy as np
import pytest
from scipy import stats

from aejax.base.errors import InputError
from aejax.compression import codes, residuals
from aejax.compression.codes import Predictor, Quantizer
from aejax.compression.coding import Meter, Reader, Writer, bell, column, digits, groups, power

RNG = np.random.default_rng(0)
KNOWN = (  # by constriction 0.4 and 0.5
    "e6259d203007891cbfc0f651fcdddf6d50d29f9df4baa3944065dd19fd513ff81a1c7217c8e66d2173ed9342398ded38"
)


def through(function, values, inputs):
    """The bits that `function`(coder, values, …) writes, after a check that they are read back."""
    meter, writer = Meter(), Writer()
    function(meter, values, *inputs())
    np.testing.assert_array_equal(function(writer, values, *inputs()), values)
    read = function(Reader(writer.payload), np.zeros_like(values), *inputs())
    assert read.tobytes() == values.tobytes() and read.shape == values.shape
    written = 8 * len(writer.payload)
    assert meter.bits == pytest.approx(written, rel=1e-3, abs=64)
    return written


def test_the_bell_is_student_s():
    edges = np.arange(-20, 22) - 0.5
    np.testing.assert_allclose(
        bell(np.arange(-20, 21), 20, 3.0), np.diff(stats.t(4, scale=3).cdf(edges)) + 1e-4 / 41, atol=1e-14
    )
    np.testing.assert_allclose(power(np.arange(-9, 9)), 2.0 ** (np.arange(-9, 9) / 4), rtol=1e-15)


def test_bytes_are_those_of_every_version_of_the_coder():
    """A file that was written by one version of constriction must be readable by all others."""
    writer = Writer()
    values = np.array([0, 3, 1, 2, 2, 2, 0, 3], np.int32)
    column(writer, values, np.array([0.5, 1.0, 2.0, 0.25]))
    column(writer, np.arange(40, dtype=np.int32), 8 * bell(np.arange(-20, 21), 20, 3.0))
    assert writer.payload.hex() == KNOWN


@pytest.mark.parametrize("spread", [0.3, 1.0, 20.0])
def test_normal_numbers_take_their_entropy(spread):
    numbers = np.rint(RNG.normal(size=(20_000, 2)) * spread).astype(np.int32)
    _, counts = np.unique(numbers, return_counts=True)
    entropy = stats.entropy(counts, base=2) * numbers.size
    reach, scale = codes.reach_of(numbers), codes.scales(numbers)
    bits = through(codes.coded, numbers, lambda: (reach, scale))
    assert entropy * 0.995 < bits < entropy * 1.02 + 200
    np.testing.assert_allclose(power(scale), spread, rtol=0.35, atol=0.2)


def test_indices_and_contexts_take_their_entropy():
    values = RNG.integers(0, 10_000, 3000).astype(np.int32)
    assert through(digits, values, lambda: (9999,)) < 3000 * np.log2(10_000) * 1.15
    constant = np.full(3000, 7, np.int32)
    assert through(digits, constant, lambda: (63,)) < 500
    context = RNG.integers(0, 2, 4000)
    values = np.where(context, 3, RNG.integers(0, 2, 4000)).astype(np.int32)
    bits = through(groups, values, lambda: (context, np.full((2, 4), 0.5), np.zeros(2, int)))
    assert bits == pytest.approx((context == 0).sum(), rel=0.08)


def test_steps_of_a_unit_follow_its_effect():
    quarter = codes.steps_by_effect(np.array([4.0, 1.0, 0.25, 0.0]))
    assert list(quarter) == [-4, 0, 4, 127]  # half the step for twice the change; a unit without effect is left out


def test_a_quantizer_errs_by_half_a_step_and_a_prediction_saves_what_units_share():
    z = RNG.normal(size=(5000, 1)) * [1.0, 1.0, 1.0] + RNG.normal(size=(5000, 3)) * [0.0, 0.1, 0.1] + 5
    predictor = Predictor.of(z.astype(np.float32))
    sizes = []
    for predicts in (False, True):
        quantizer = Quantizer(predictor, predicts, 0.05, np.array([0, 4, -4], np.int8))
        numbers = quantizer.numbers(z)
        error = np.abs(quantizer.codes(numbers) - z).max(axis=0)
        assert (error <= np.array([0.05, 0.1, 0.025]) / 2 + 1e-6).all()
        sizes.append(through(codes.coded, numbers, lambda n=numbers: (codes.reach_of(n), codes.scales(n))))
    conditional = 0.5 * np.log2(0.01) * 2 * 5000  # of the second and third unit given the first, less than alone
    assert sizes[1] - sizes[0] == pytest.approx(conditional, rel=0.1)


@pytest.mark.parametrize("channels", [1, 3])
def test_residuals_of_bytes_come_back_and_exact_ones_cost_nothing(channels):
    x = RNG.integers(0, 256, (40, 6, 5, channels)).astype(np.uint8)
    expected = RNG.integers(0, 256, x.shape).astype(np.uint8)
    for expectation, most in ((expected, 10.5), (x, 0.15)):
        settings = residuals.settings_of(x, expectation)
        assert through(residuals.coded_bytes, x, lambda e=expectation, s=settings: (e, s)) < most * x.size
    black = np.where(RNG.random(x.shape) < 0.9, 0, 255).astype(np.uint8)  # two frequent values, with an entropy of 0.47
    settings = residuals.settings_of(black, expected)
    assert list(settings[5:]) == [0, 255]
    assert through(residuals.coded_bytes, black, lambda: (expected, settings)) < 0.9 * x.size


def test_residuals_of_bits_come_back():
    x = RNG.integers(0, 2, (100, 6, 5, 1)).astype(np.uint8)
    assert through(residuals.coded_bits, x, lambda: (255 * x,)) < 0.05 * x.size
    assert through(residuals.coded_bits, x, lambda: (np.full_like(x, 128),)) < 1.2 * x.size


def test_residuals_of_floats_come_back():
    x = RNG.normal(size=(50, 7)).astype(np.float32)
    x[0, :5] = [0, -0.0, 3e38, -1e-45, 1e-45]
    assert through(residuals.coded_floats, x, lambda: (x,)) < 3 * x.size
    near = through(residuals.coded_floats, x, lambda: (np.nextafter(x, np.float32(9)),))
    assert near < 4 * x.size
    assert near < through(residuals.coded_floats, x, lambda: (np.full_like(x, np.inf),))


@pytest.mark.parametrize("payload", [b"", b"\xff" * 12, b"\x00" * 4])
def test_any_payload_is_read_or_refused(payload):
    reader = Reader(payload)
    try:
        values = column(reader, np.zeros(5000, np.int32), np.array([1e-9, 1.0, 2.0]))
    except InputError:
        return
    assert values.shape == (5000,) and values.min() >= 0 and values.max() <= 2
