"""Entropy coding: every integer comes back, at its price, and no payload does harm."""

from __future__ import annotations

import time
import tracemalloc
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.profiles import examples
from vaetools.codec.entropy import (
    TOTAL,
    Decoder,
    Encoder,
    Table,
    frequencies_of,
    gaussian_table,
)
from vaetools.codec.tables import (
    CodecTables,
    decode_hyper,
    decode_latents,
    encode_hyper,
    encode_latents,
)
from vaetools.errors import ChecksumError, ModelBrokenError

from .synthetic import HYPER, LEVELS, LIMIT, random_arrays, random_table

LARGEST = 2**31 - 1
integers = st.integers(-LARGEST, LARGEST) | st.sampled_from([-LARGEST, LARGEST])


@st.composite
def tables(draw, escape=None):
    """Gaussian tables of all widths, and tables of any frequencies."""
    escape = draw(st.booleans()) if escape is None else escape
    if escape and draw(st.booleans()):
        return gaussian_table(draw(st.floats(0.05, 20)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([0.0, 1.0, 30.0]))
    return random_table(rng, draw(st.integers(1 - escape, 30)), escape=escape, spread=spread)


@st.composite
def groups(draw):
    """(values, table), the values within the table's reach if it has no escape."""
    table = draw(tables())
    within = st.integers(-table.reach, table.reach)
    values = st.lists(within | integers if table.has_escape else within, max_size=20)
    return np.array(draw(values), np.int64), table


def decoded(payload, wanted):
    """What `payload` says, for [(count, table), …]."""
    decoder = Decoder(payload)
    parts = [decoder.get(count, table) for count, table in wanted]
    decoder.finish()
    return parts


def encoder_of(parts):
    encoder = Encoder()
    for values, table in parts:
        encoder.put(values, table)
    return encoder


def sampled(table, count, seed=0):
    """Values with the table's own probabilities; an escape stands for a value just out of reach."""
    rng = np.random.default_rng(seed)
    return rng.choice(len(table.frequencies), count, p=table.frequencies / TOTAL) - table.reach


@settings(max_examples=examples(200))
@given(st.lists(groups(), max_size=6))
def test_every_integer_comes_back(parts):
    payload = encoder_of(parts).finish()
    wanted = [(len(values), table) for values, table in parts]
    for (values, _), found in zip(parts, decoded(payload, wanted), strict=True):
        np.testing.assert_array_equal(found, values)


@settings(max_examples=examples(60))
@given(st.lists(groups(), max_size=6))
def test_the_length_is_what_the_probabilities_say(parts):
    encoder = encoder_of(parts)
    ideal = encoder.bits / 8
    assert abs(len(encoder.finish()) - ideal) <= 0.01 * ideal + 12


@pytest.mark.parametrize("scale", [0.11, 0.3, 1, 5, 30, 128])
def test_many_symbols_cost_what_the_probabilities_say(scale):
    table = gaussian_table(scale)
    encoder = encoder_of([(sampled(table, 100_000), table)])
    ideal = encoder.bits / 8
    assert len(encoder.finish()) == pytest.approx(ideal, rel=0.002, abs=12)


def test_a_payload_is_the_same_every_time():
    table = gaussian_table(3.0)
    values = sampled(table, 1000)
    assert encoder_of([(values, table)]).finish() == encoder_of([(values, table)]).finish()


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64])
def test_the_type_of_the_integers_does_not_matter(dtype):
    """At the limits of int16, a sum with the reach needs a wider type."""
    table = gaussian_table(3.0)
    values = np.array([-32768, -19, -18, 0, 18, 19, 32767])
    payload = encoder_of([(values.astype(dtype), table)]).finish()
    assert payload == encoder_of([(values, table)]).finish()
    np.testing.assert_array_equal(decoded(payload, [(len(values), table)])[0], values)


def test_nothing_at_all_is_one_byte():
    assert Encoder().finish() == b"\0"
    decoded(b"\0", [])


# --- payloads that are not ours -------------------------------------------------------------------


def integers_or_refusal(payload, wanted):
    """The promise for hostile payloads: a ChecksumError, or as many int32 as were asked for."""
    try:
        parts = decoded(payload, wanted)
    except ChecksumError:
        return None
    for part, (count, _) in zip(parts, wanted, strict=True):
        assert part.shape == (count,)
        assert part.dtype == np.int32
    return parts


@settings(max_examples=examples(300))
@given(st.binary(max_size=60), st.lists(st.tuples(st.integers(0, 30), tables()), max_size=4))
def test_garbage_gives_integers_or_is_refused(payload, wanted):
    integers_or_refusal(payload, wanted)


@settings(max_examples=examples(100))
@given(groups(), tables(), st.integers(0, 40))
def test_wrong_tables_give_integers_or_are_refused(part, other, count):
    integers_or_refusal(encoder_of([part]).finish(), [(count, other)])


def test_wrong_tables_are_noticed_at_the_end():
    """Only a guard behind the checksums, but a good one: the end state must be exactly 0."""
    right, wrong = gaussian_table(2.0), gaussian_table(2.1)
    payloads = [encoder_of([(sampled(right, 50, seed), right)]).finish() for seed in range(100)]
    assert all(integers_or_refusal(p, [(50, right)]) is not None for p in payloads)
    assert all(integers_or_refusal(p, [(50, wrong)]) is None for p in payloads)


def test_every_truncation_is_noticed():
    table = gaussian_table(2.0)
    payload = encoder_of([(np.append(sampled(table, 200), [10**6, -(10**9)]), table)]).finish()
    for length in range(len(payload)):
        assert integers_or_refusal(payload[:length], [(202, table)]) is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"\xff\xff\xff\xff\xff\x01",  # a number of more than five bytes
        b"\xff\xff\xff\xff\x7f",  # 32 GiB of escape bytes
        b"\x05\x00",
        b"\x00\x01\x02\x03",  # no whole number of words
        b"\x00\x01\x00\x00\x00\x00\x00\x00\x00",  # the last word is zero
        b"\x01\x80",  # an escaped number that is cut short
    ],
)
def test_impossible_payloads_are_refused(payload):
    table = Table(np.array([1, TOTAL - 2, 1], np.int64), 1)
    assert integers_or_refusal(payload, [(1, table)]) is None


@pytest.mark.parametrize("value", [0, 5, -5, 2**31, -(2**31), 2**34])
def test_an_escape_is_only_for_what_needs_one(value):
    """Values that have a symbol of their own, and those beyond 32 bits, are refused as escapes."""
    table = random_table(np.random.default_rng(0), 5, escape=True)
    encoder = encoder_of([(np.array([6]), table)])
    honest = encoder.finish()
    code = 2 * value if value >= 0 else -2 * value - 1
    escape = bytearray()
    while code >= 128:
        escape.append(code % 128 + 128)
        code //= 128
    escape.append(code)
    forged = bytes([len(escape), *escape]) + honest[2:]
    with pytest.raises(ChecksumError, match=r"escape|number"):
        decoded(forged, [(1, table)])


def test_hostile_payloads_cost_neither_time_nor_memory():
    table = gaussian_table(1.0)
    table.model  # noqa: B018 - built once per table, not per payload
    payloads = [b"\xff\xff\xff\xff\x7f" + bytes(range(256)), b"\0" + bytes([255]) * 400]
    began = time.process_time()
    tracemalloc.start()
    for payload in payloads:
        integers_or_refusal(payload, [(10_000, table)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
    assert time.process_time() - began < 1


# --- tables ---------------------------------------------------------------------------------------


@settings(max_examples=examples(200))
@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=400).filter(any))
def test_frequencies_sum_to_the_total_and_none_is_zero(weights):
    frequencies = frequencies_of(np.array(weights))
    assert frequencies.sum() == TOTAL
    assert frequencies.min() >= 1
    assert len(frequencies) == len(weights)


@pytest.mark.parametrize("scale", [0.05, 0.11, 0.5, 1, 2.7, 16, 128])
def test_gaussian_tables_are_gaussian(scale):
    """Symmetric, escapes rare, and no dearer than the normal distribution itself."""
    table = gaussian_table(scale)
    found, escape = table.frequencies[:-1] / TOTAL, table.frequencies[-1] / TOTAL
    cdf = NormalDist(0, scale).cdf
    steps = range(-table.reach, table.reach + 1)
    exact = np.array([cdf(value + 0.5) - cdf(value - 0.5) for value in steps])
    assert table.has_escape
    assert escape < 1e-6
    np.testing.assert_array_equal(found, found[::-1])
    likely = exact > 0
    divergence = (exact * np.log2(exact / found, where=likely, out=np.zeros_like(exact))).sum()
    assert divergence < 1e-4, "bits per symbol"


def arrays(**changes):
    return {**random_arrays(), **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"inverse_gain": np.ones((3, 4), np.float32)},
        {"rate": np.ones(2, np.float32)},
        {"gain": np.ones(3, np.float32)},
        {"coarse": np.ones(4, bool)},
        {"coarse": np.ones(5, np.uint8)},
        {"hyper_frequencies": np.ones((2, 13), np.uint32)},
        {"hyper_group": np.array([0, 1, 2], np.uint8)},
        {"latent_frequencies": np.ones(5, np.uint32)},
        {"latent_reach": np.zeros(257, np.uint16), "latent_frequencies": np.ones(514, np.uint32)},
    ],
)
def test_tables_that_do_not_fit_each_other_are_refused(changes):
    with pytest.raises(ModelBrokenError, match=r"tables\.npz have inconsistent shapes"):
        CodecTables.of(arrays(**changes))


@settings(max_examples=examples(50))
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 6))
def test_latents_come_back_whatever_table_each_has(seed, height, width):
    rng = np.random.default_rng(seed)
    table_list = CodecTables.of(arrays()).latent
    index = rng.integers(0, len(table_list), (4, height, width)).astype(np.uint8)
    symbols = rng.integers(-20, 21, index.shape)
    payload = encode_latents(symbols, index, table_list).finish()
    np.testing.assert_array_equal(decode_latents(payload, index, table_list), symbols)


@settings(max_examples=examples(50))
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 6))
def test_hyper_latents_come_back_whatever_level_each_has(seed, rows, columns):
    rng = np.random.default_rng(seed)
    found = CodecTables.of(arrays())
    levels = rng.integers(0, LEVELS, (rows, columns)).astype(np.uint8)
    z = rng.integers(-LIMIT, LIMIT + 1, (HYPER, rows, columns))
    payload = encode_hyper(z, levels, found).finish()
    np.testing.assert_array_equal(decode_hyper(payload, levels, found), z)


def test_levels_of_one_group_of_hyper_tables_are_coded_alike():
    """Levels 1 and 2 share tables: a cell's level says nothing more to the hyper-latents."""
    found = CodecTables.of(arrays())
    z = np.random.default_rng(0).integers(-LIMIT, LIMIT + 1, (HYPER, 3, 4))
    one, two, mixed = (np.full((3, 4), level, np.uint8) for level in (1, 2, 1))
    mixed[1] = 2
    payloads = {encode_hyper(z, levels, found).finish() for levels in (one, two, mixed)}
    assert len(payloads) == 1
