"""Rows that are predicted alike are predicted once."""

import numpy as np
import pandas as pd
import pytest

from bayesmixed import MixedModelClassifier, MixedModelRegressor
from bayesmixed.prediction.linear import Predictors

RNG = np.random.default_rng(1)
FRAME = pd.DataFrame({"x": np.arange(120) % 5, "g": np.arange(120) % 8, "time": 1.0 + np.arange(120) % 2})
COUNTS = RNG.poisson(np.exp(0.3 * FRAME["x"]))


@pytest.fixture(scope="module")
def counts():
    formula = "x + (x | g) + offset(log(time))"
    return MixedModelRegressor(formula, family="poisson", draws=200, random_state=0).fit(FRAME, COUNTS)


def repeated(seed):
    """Rows in any order, many of them alike, of known, new and missing groups."""
    rows = FRAME.sample(400, replace=True, random_state=seed).reset_index(drop=True)
    return rows.assign(g=np.where(rows.index % 3, rows["g"], 90 + rows.index % 4).astype(object))


def predictors_of(est, rows, mode):
    design, modes = est._new_design(rows, True, mode)
    return Predictors(est._posterior, design, modes)


@pytest.mark.filterwarnings("ignore:Pareto k-hat of the draws of a predicted mean")
@pytest.mark.parametrize("mode", ["sample", "zero", "donor", "nan"])
def test_a_row_among_many_is_predicted_as_it_is_alone(counts, mode):
    rows = repeated(3)
    together = counts.predict(rows, new_groups=mode)

    for at in (0, 1, 2, 3, 57, 399):
        alone = counts.predict(rows.iloc[[at]], new_groups=mode)
        np.testing.assert_allclose(together[at], alone[0], rtol=1e-12)


def test_means_that_overflow_are_infinite_with_one_warning(counts):
    """NumPy's own warning would say nothing of predictions, and the deviation be NaN."""
    far = FRAME.head(3).assign(x=[0, 5000, 1])

    with pytest.warns(UserWarning, match="a predicted mean is inf") as caught:
        mean = counts.predict(far)
    assert len(caught) == 1
    assert np.isfinite(mean).tolist() == [True, False, True]
    with pytest.warns(UserWarning, match="a predicted mean is inf|standard deviation is infinite") as caught:
        _, std = counts.predict(far, return_std=True)
    assert len(caught) == 2
    assert np.isfinite(std).tolist() == [True, False, True]


@pytest.mark.parametrize(("mode", "distinct"), [("sample", 80 + 10), ("zero", 80 + 10), ("donor", 80 + 40)])
def test_groups_that_are_new_are_one_where_none_is_drawn(counts, mode, distinct):
    rows = pd.concat([repeated(seed) for seed in range(6)], ignore_index=True)
    few, place = predictors_of(counts, rows, mode).distinct()

    assert few.design.n_rows <= distinct
    np.testing.assert_array_equal(few.design.X[place], predictors_of(counts, rows, mode).design.X)


def test_missing_labels_keep_their_rows_where_a_donor_goes_by_the_row(counts):
    rows = repeated(1)
    rows.loc[[5, 6], "g"] = None
    predictors = predictors_of(counts, rows, "donor")
    few, place = predictors.distinct()

    assert few is predictors
    np.testing.assert_array_equal(place, np.arange(len(rows)))


def test_classes_are_predicted_once_as_well():
    est = MixedModelClassifier("x + (1 | g)", draws=200, random_state=0).fit(FRAME, np.minimum(COUNTS, 1))
    rows = repeated(5)

    alone = np.concatenate([est.predict_proba(rows.iloc[[at]]) for at in range(9)])
    np.testing.assert_allclose(est.predict_proba(rows)[:9], alone, rtol=1e-12)
