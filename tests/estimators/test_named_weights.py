"""`sample_weight` may be the name of a column wherever columns have names."""

import numpy as np
import polars as pl
import pytest
from sklearn.model_selection import cross_val_score

from bayesmixed import FormulaError, MixedModelClassifier, MixedModelRegressor
from helpers.summed_cases import FAST, largest_difference, make_frame

FRAME = make_frame()
FORMULA = "y ~ x + (1 | pupil)"
pytestmark = pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")


@pytest.fixture(scope="module")
def known():
    return MixedModelRegressor(FORMULA, **FAST).fit(FRAME, sample_weight=FRAME["w"])


@pytest.mark.parametrize("frame", [FRAME, pl.from_pandas(FRAME)], ids=["pandas", "polars"])
def test_fits_read_the_column(frame, known):
    assert largest_difference(MixedModelRegressor(FORMULA, **FAST).fit(frame, sample_weight="w"), known) == 0
    parts = MixedModelRegressor(FORMULA, **FAST)
    for part in (frame[:50], frame[50:]):
        parts.partial_fit(part, sample_weight="w")
    assert largest_difference(parts, known) < 1e-8


def test_what_comes_after_a_fit_reads_the_column(known):
    assert known.score(FRAME, sample_weight="w") == known.score(FRAME, sample_weight=FRAME["w"])
    assert known.score(FRAME, sample_weight="w") != known.score(FRAME)
    more = FRAME[:9]
    one, other = known.condition(more, sample_weight="w"), known.condition(more, sample_weight=more["w"])
    assert largest_difference(one, other) == 0
    with pytest.raises(ValueError, match="loo needs the rows of the fit"):
        known.loo(FRAME, sample_weight="z")
    classes = FRAME.assign(late=FRAME["year"] > 2013)
    est = MixedModelClassifier("late ~ x + (1 | pupil)", **FAST).fit(classes, sample_weight="w")
    assert est.score(classes, sample_weight="w") == est.score(classes, sample_weight=classes["w"])


def test_a_model_in_pymc_reads_the_column(monkeypatch):
    from bayesmixed.estimators import base

    weights = []
    monkeypatch.setattr(base, "build_model", lambda model, design, obs: weights.append(design.weights))
    MixedModelRegressor(FORMULA).build_model(FRAME, sample_weight="w")

    np.testing.assert_array_equal(weights[0], FRAME["w"])


def test_a_column_that_is_not_there_is_refused(known):
    message = r"sample_weight names 'nope', which is not a column of X \(columns: 'x', 'z'"
    for method in (MixedModelRegressor(FORMULA).fit, MixedModelRegressor(FORMULA).partial_fit, known.score, known.loo):
        with pytest.raises(FormulaError, match=message):
            method(FRAME, sample_weight="nope")
    with pytest.raises(FormulaError, match=r"sample_weight names 'w', which is not a column of X \(X is an array\)"):
        MixedModelRegressor().fit(FRAME[["x"]].to_numpy(), FRAME["y"], sample_weight="w")


def test_without_a_formula_the_column_would_be_an_effect():
    with pytest.raises(FormulaError, match=r"would also be a common effect.*X\.drop\(columns='w'\) and X\['w'\]"):
        MixedModelRegressor().fit(FRAME[["x", "w"]], FRAME["y"], sample_weight="w")


def test_scikit_learn_hands_the_name_on():
    est = MixedModelRegressor(FORMULA, **FAST)
    named, given = (
        cross_val_score(est, FRAME, FRAME["y"], cv=2, params={"sample_weight": w}) for w in ("w", FRAME["w"])
    )

    np.testing.assert_array_equal(named, given)
