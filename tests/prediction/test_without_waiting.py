"""What a call does not need is not computed: means and draws of the levels asked for alone."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

from bayesmixed import MixedModelRegressor
from bayesmixed.chunks import allow
from bayesmixed.gaussian import effects
from helpers.collapsed_twins import make_frame

FRAME = make_frame(n=120)
Y = pd.Series(np.random.default_rng(0).normal(5, 2, 120) + FRAME["pupil"] % 3 + FRAME["item"] * FRAME["x"] / 4)
FORMULAS = {
    "one factor": "x + (x | pupil)",
    "nested": "x + (1 | school/pupil)",
    "crossed": "x + (x | pupil) + (1 | item)",
}

pytestmark = pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")  # the chains are short


@pytest.fixture(params=FORMULAS)
def source(request):
    """The effects of a fit that stores none of them, before anything was asked of them."""
    with allow(stored=0):
        est = MixedModelRegressor(FORMULAS[request.param], draws=100, chains=2, random_state=3).fit(FRAME, Y)
    (found,) = est._posterior.draws.lazy.values()
    return found


@pytest.mark.parametrize("numbers", [None, 1])
def test_means_are_the_same_bit_by_bit_whichever_levels_are_asked_for(source, numbers):
    limits = {} if numbers is None else {"moments": numbers, "effects": numbers}
    backwards = np.arange(source.n_levels)[::-1]
    with allow(**limits):
        every = pickle.loads(pickle.dumps(source)).mean

        np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).means(backwards), every[::-1])
        for level in (3, 0, source.n_levels - 1):
            np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).means(np.array([level])), every[[level]])
        assert copy.deepcopy(source).means(np.arange(0)).shape == (0, source.n_effects)


def test_a_levels_means_are_computed_once(source, monkeypatch):
    asked = []
    exact = effects.FirstEffects._exact_means
    monkeypatch.setattr(
        effects.FirstEffects, "_exact_means", lambda self, levels: asked.append(levels.tolist()) or exact(self, levels)
    )
    for levels in ([4, 2], [2], [4, 2, 0], [0]):
        source.means(np.array(levels))

    assert asked == [[4, 2], [0]]


def test_draws_of_one_level_per_draw_are_those_of_all(source):
    S = len(source.points.which)
    levels = np.random.default_rng(1).integers(source.n_levels, size=S)
    every = source.draw(np.arange(source.n_levels))

    np.testing.assert_array_equal(source.draw_each(levels), every[np.arange(S), levels])


@pytest.mark.parametrize("formula", FORMULAS.values())
def test_a_row_of_a_new_level_computes_no_means_and_a_donor_draws_no_level_in_full(formula, monkeypatch):
    with allow(stored=0):
        est = MixedModelRegressor(formula, draws=100, chains=2, random_state=3).fit(FRAME, Y)
    asked = []
    monkeypatch.setattr(effects.FirstEffects, "_exact_means", lambda self, levels: asked.extend(levels))
    draw = effects.FirstEffects.draw
    monkeypatch.setattr(effects.FirstEffects, "draw", lambda self, levels: asked.extend(levels) or draw(self, levels))
    row = FRAME.iloc[[0]].assign(pupil=99)

    for again in (est, pickle.loads(pickle.dumps(est)), copy.deepcopy(est)):
        assert np.isfinite(again.predict(row)).all()
        assert np.isfinite(again.predict_draws(row, kind="mean", new_groups="donor")).all()
    assert asked == []
