"""X, y and weights are paired by position: an index in another order is named, and what is masked stays masked."""

import warnings

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pytest

from bayesmixed import FormulaError, MixedModelRegressor
from helpers.collapsed_twins import make_frame

FRAME = make_frame()
X = FRAME[["x", "school"]]
Y = pd.Series(np.random.default_rng(3).normal(5, 2, 40), name="y")
SHUFFLED = np.random.default_rng(4).permutation(40)
SAME = "has the same labels as that of X in another order, and rows are paired by position"


def make(formula="x + (1 | school)", **options):
    return MixedModelRegressor(formula, draws=100, random_state=0, **options)


EST = make().fit(X, Y)

USES = {
    "fit": lambda X, y: make().fit(X, y),
    "without a formula": lambda X, y: make(None).fit(X[["x"]], y),
    "partial_fit": lambda X, y: make().partial_fit(X, y),
    "score": EST.score,
    "condition": EST.condition,
    "sample_posterior_predictive": EST.sample_posterior_predictive,
    "weights of fit": lambda X, y: make().fit(X, Y.to_numpy(), sample_weight=abs(y)),
}


@pytest.mark.parametrize("use", USES)
def test_an_index_in_another_order_is_named(use):
    """A response that was sorted, or shuffled on its own, would be fitted silently to other rows."""
    with pytest.warns(UserWarning, match=SAME):
        USES[use](X, Y.iloc[SHUFFLED])


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    "rows",
    [
        lambda: (X, Y),
        lambda: (X.iloc[SHUFFLED], Y.iloc[SHUFFLED]),
        lambda: (X, Y.to_numpy()),
        lambda: (X, Y.set_axis(range(100, 140))),
        lambda: (X, Y.set_axis(np.zeros(40, dtype=int))),
        lambda: (X, Y.set_axis(Y.index.astype(float))),
    ],
)
def test_other_indices_are_none_of_our_business(use, rows):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*index")
        USES[use](*rows())


def test_an_index_is_read_in_a_frame_that_narwhals_wraps():
    with pytest.warns(UserWarning, match=SAME):
        make().fit(nw.from_native(X), nw.from_native(Y.iloc[SHUFFLED], series_only=True))


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
