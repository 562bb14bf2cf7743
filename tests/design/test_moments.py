"""Moments add up over any partition of the rows and lose nothing, however far from zero a column is."""

from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesmixed.design.moments import Moments, binary
from helpers.twins import exact_moments

FAR = 1e8  # standard deviations between a column and zero


def far_columns(n, seed):
    """Three columns about -1e8, 0 and 1e8, correlated, in units of order one, with weights."""
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(n, 3)) @ np.array([[1, 0, 0.7], [0, 1, 0.2], [0, 0, 0.5]]) + FAR * np.array([-1, 0, 1])
    return columns, rng.uniform(0.1, 4, n)


def assert_exact(found, columns, weights):
    """Against rational numbers: the mean to 1e-14 sds, though it is 1e8 of them from zero."""
    mean, covariance = exact_moments(columns, weights)
    at = found.origin
    off = [float(own - type(own)(float(o))) for own, o in zip(mean, at, strict=True)]

    np.testing.assert_allclose(found.sums / found.weight, off, atol=1e-14)
    np.testing.assert_allclose(found.covariance, np.array(covariance, dtype=float), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("seed", range(3))
def test_equal_sums_in_rational_numbers(seed):
    columns, weights = far_columns(40, seed)

    assert_exact(Moments.of(columns, weights), columns, weights)
    assert_exact(Moments.of(columns), columns, np.ones(40))


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 5), min_size=2, max_size=40), st.randoms())
def test_parts_add_up_in_any_partition_and_order(seed, part, random):
    columns, weights = far_columns(len(part), seed)
    labels = sorted(set(part))
    random.shuffle(labels)
    parts = [Moments.of(columns[np.equal(part, one)], weights[np.equal(part, one)]) for one in labels]
    half = len(parts) // 2
    trees = [reduce(add, parts)]
    if half:
        trees.append(reduce(add, parts[:half]) + reduce(add, parts[half:]))

    for found in trees:
        assert found.weight == pytest.approx(weights.sum())
        assert_exact(found, columns, weights)


def test_rows_one_by_one_are_the_whole():
    columns, weights = far_columns(300, 0)
    rows = [Moments.of(columns[i : i + 1], weights[i : i + 1]) for i in range(300)]

    assert_exact(reduce(add, rows), columns, weights)


def test_parts_that_are_far_from_each_other_add_up():
    """One part about zero, the next 1e8 of its standard deviations away."""
    columns, weights = far_columns(20, 1)
    both = np.concatenate([columns, columns * [0, 1, 2]])

    found = Moments.of(columns, weights) + Moments.of(columns * [0, 1, 2], weights)
    mean, covariance = exact_moments(both, np.concatenate([weights, weights]))
    np.testing.assert_allclose(found.mean, np.array(mean, dtype=float), rtol=1e-14)
    covariance = np.array(covariance, dtype=float)
    size = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(found.covariance / size, covariance / size, atol=1e-14)


def test_location_and_scale_equal_those_of_the_repeated_rows():
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=(6, 2)), np.array([1, 2, 3, 1, 1, 4])
    repeated = np.repeat(values, weights, axis=0)

    location, scale = Moments.of(values, weights).location_and_scale(centred=True)
    np.testing.assert_allclose(location, repeated.mean(axis=0))
    np.testing.assert_allclose(scale, repeated.std(axis=0))
    location, scale = Moments.of(values, weights).location_and_scale(centred=False)
    np.testing.assert_array_equal(location, 0)
    np.testing.assert_allclose(scale, np.sqrt((repeated**2).mean(axis=0)))


def test_scale_of_a_constant_and_of_a_zero_column():
    found = Moments.of(np.column_stack([np.full(7, 0.1), np.full(7, 1e9 + 0.1), np.zeros(7)]))

    np.testing.assert_allclose(found.location_and_scale(centred=True)[1], [0.1, 1e9 + 0.1, 1], rtol=1e-15)
    np.testing.assert_allclose((found + found).location_and_scale(centred=True)[1], [0.1, 1e9 + 0.1, 1], rtol=1e-15)


def test_combined_and_selected_columns_are_those_of_the_rows():
    columns, weights = far_columns(30, 2)
    T, shift = np.array([[1.0, 0.5], [0.0, 1.0], [2.0, 0.0]]), np.array([-FAR, FAR / 2])
    whole = Moments.of(columns, weights)
    found, rows = whole.combined(T, shift), Moments.of(columns @ T + shift, weights)

    np.testing.assert_allclose(found.mean, rows.mean, atol=1e-7)  # the mean of one column is 1e8, and is taken away
    np.testing.assert_allclose(found.covariance, rows.covariance, atol=1e-7)
    np.testing.assert_array_equal(whole.select([2, 0]).covariance, whole.covariance[np.ix_([2, 0], [2, 0])])
    location = FAR * np.array([-1, 0, 1])
    near = np.average((columns - location) ** 2, axis=0, weights=weights)
    np.testing.assert_allclose(whole.size_about(location), np.sqrt(near))


def test_columns_of_zeros_and_ones_alone_are_told():
    columns = np.array([[0.0, 1, 0, 0.5, 1], [1, 1, 0, 1, 2], [0, 1, 0, 0, 0]])

    np.testing.assert_array_equal(binary(columns), [True, True, True, False, False])
