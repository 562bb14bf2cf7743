"""Draws put together by their covariances and noise."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesmixed.posterior.parts import Parts, _split
from helpers.made import make_posterior

FORMULA = "x + (x | school) + (1 | pupil)"


@pytest.fixture
def posterior(school):
    return make_posterior(FORMULA, school)[0]


def parts_of(posterior, n_parts, noise=1.0):
    return Parts.alike(posterior.draws, posterior.spec, ("sigma",), n_parts, noise)


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.floats(-1e3, 1e3)), min_size=1, max_size=40),
    st.integers(1, 12),
)
@settings(deadline=None)
def test_every_point_is_in_one_part_none_is_empty_and_equal_points_are_together(points, n_parts):
    points = np.array(points, dtype=float)
    label = _split(points, n_parts)
    distinct = len(np.unique(points, axis=0))

    assert set(label) == set(range(label.max() + 1))
    assert label.max() + 1 <= min(n_parts, distinct)
    for point in points:
        assert len(set(label[(points == point).all(axis=1)])) == 1


def test_what_scatters_most_is_split_first():
    points = np.array([[0.0], [0.1], [0.2], [5.0], [30.0]])

    np.testing.assert_array_equal(_split(points, 2) == _split(points, 2)[0], [True, True, True, True, False])
    assert len(set(_split(points, 3)[:3])) == 1
    assert len(set(_split(points, 5))) == 5


def test_parts_do_not_depend_on_units(posterior):
    before = parts_of(posterior, 9).label
    posterior.draws.values["sigma"] *= 64
    posterior.draws.values["sd_school"] *= np.array([0.25, 1024])

    np.testing.assert_array_equal(parts_of(posterior, 9).label, before)


def test_the_noise_counts_as_often_as_it_is_told(posterior):
    """With a large share, parts are runs of sigma."""
    parts = parts_of(posterior, 6, noise=1e6)
    sigma = posterior.draws.flat("sigma")
    ends = sorted((sigma[parts.label == part].min(), sigma[parts.label == part].max()) for part in range(6))

    assert all(high < low for (_, high), (low, _) in pairwise(ends))


def test_means_over_parts(posterior):
    parts, values = parts_of(posterior, 5), np.random.default_rng(0).normal(size=(100, 2, 3))

    for part, mean in enumerate(parts.mean(values)):
        np.testing.assert_allclose(mean, values[parts.label == part].mean(axis=0))
    np.testing.assert_allclose(parts.weights @ parts.mean(values).reshape(5, -1), values.mean(axis=0).ravel())
    assert Parts.whole(posterior.draws).weights.tolist() == [1.0]
