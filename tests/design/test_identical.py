"""Identical rows, told by their bits."""

import numpy as np

from bayesmixed.design.identical import distinct_rows


def test_identical_rows_are_found_exactly():
    numbers = np.array([[1.0, 0.0], [2.0, -0.0], [1.0, -0.0], [2.0, 0.0], [1.0, 1e-300]])
    at, place = distinct_rows(numbers, [np.array([0, 1, 0, 2, 0])])

    np.testing.assert_array_equal(at, [0, 1, 3, 4])
    np.testing.assert_array_equal(place, [0, 1, 0, 2, 3])
