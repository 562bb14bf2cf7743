"""Arrays that wait to be made until somebody reads them."""

import pickle
from copy import deepcopy

import numpy as np
import pytest

from bayesmixed.posterior.values import Values


@pytest.fixture
def made():
    """How often the waiting array was made."""
    return []


@pytest.fixture
def values(made):
    def make():
        made.append(1)
        return np.arange(3.0)

    return Values({"sigma": np.ones(2), "b_g": make})


def test_an_array_that_waits_is_made_once(values, made):
    assert made == []
    assert values["b_g"] is values["b_g"]
    np.testing.assert_array_equal(values["b_g"], np.arange(3.0))
    assert made == [1]


def test_names_can_be_asked_for_without_making_anything(values, made):
    assert "b_g" in values
    assert "b_h" not in values
    assert list(values) == ["sigma", "b_g"]
    assert len(values) == 2
    with pytest.raises(KeyError):
        values["b_h"]
    assert made == []


def test_others_may_be_added_and_win(values, made):
    both = values | {"sigma": np.zeros(2), "lp": np.ones(1)}

    assert list(both) == ["sigma", "b_g", "lp"]
    assert both["sigma"].sum() == 0
    assert values["sigma"].sum() == 2
    assert made == []


@pytest.mark.parametrize("copied", [deepcopy, lambda values: pickle.loads(pickle.dumps(values))])
def test_copies_have_the_arrays(values, made, copied):
    other = copied(values)

    assert made == [1]
    assert list(other) == list(values)
    np.testing.assert_array_equal(other["b_g"], np.arange(3.0))
    assert made == [1]
