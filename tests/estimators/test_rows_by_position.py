"""X, y and weights are paired by position, whatever their index, and what is masked stays masked."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from bayesmixed import FormulaError, MixedModelRegressor
from helpers.collapsed_twins import make_frame

FRAME = make_frame()
X = FRAME[["x", "school"]]
Y = pd.Series(np.random.default_rng(3).normal(5, 2, 40), name="y")


def make(formula="x + (1 | school)", **options):
    return MixedModelRegressor(formula, draws=100, random_state=0, **options)


EST = make().fit(X, Y)

USES = {
    "fit": lambda y: make().fit(X, y).coef_,
    "without a formula": lambda y: make(None).fit(X[["x"]], y).coef_,
    "partial_fit": lambda y: make().partial_fit(X, y).coef_,
    "score": lambda y: EST.score(X, y),
    "condition": lambda y: EST.condition(X, y).coef_,
    "weights of fit": lambda y: make().fit(X, Y.to_numpy(), sample_weight=abs(y)).coef_,
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    "index", [np.arange(40)[::-1], range(100, 140), np.zeros(40, dtype=int), np.arange(40.0)], ids=str
)
def test_rows_are_paired_by_position_whatever_the_index(use, index):
    """As in scikit-learn, whose permutation tests pass a y that is shuffled with its index."""
    np.testing.assert_array_equal(USES[use](Y.set_axis(index)), USES[use](Y))


MASKED = np.ma.array(Y.to_numpy(), mask=np.arange(40) < 3)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: make().fit(X, MASKED), "Input y contains NaN or infinity in 3 of 40 rows"),
        (lambda: EST.score(X, MASKED), "Input y contains NaN or infinity in 3 of 40 rows"),
        (lambda: make().fit(X, Y, sample_weight=abs(MASKED)), "sample_weight contains NaN"),
        (lambda: make(None).fit(MASKED[:, None], Y), "column 'x0' has 3 missing values"),
        (lambda: make(None).fit(Y.to_numpy()[:, None], Y + X["x"]).predict(MASKED[:, None]), "column 'x0' has 3 miss"),
    ],
)
def test_what_is_masked_is_missing(use, message):
    """NumPy would uncover the values under the mask, and they would be fitted."""
    with pytest.raises(ValueError, match=message):
        use()


def test_an_array_of_which_nothing_is_masked_is_an_array():
    nothing = np.ma.array(Y.to_numpy(), mask=False)

    np.testing.assert_array_equal(make().fit(X, nothing).predict(X), EST.predict(X))


def test_records_are_no_columns():
    with pytest.raises(FormulaError, match=r"X is an array of records, .* pass pd.DataFrame\(X\)"):
        make(None).fit(X[["x"]].to_records(index=False), Y)


def test_a_frame_without_index_is_paired_by_position():
    np.testing.assert_array_equal(make().fit(pl.from_pandas(X), Y).predict(X), EST.predict(X))
