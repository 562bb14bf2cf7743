"""Warnings name the line of the user's that called us."""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from bayesmixed import MixedModelRegressor
from bayesmixed.errors import quoted

FRAME = pd.DataFrame({"x": np.arange(40.0), "year": 2000 + np.arange(40.0) % 7, "g": np.arange(40) % 5, "zero": 0.0})
Y = np.random.default_rng(0).normal(size=40)
WAYS = {
    "fit": lambda est: est.fit(FRAME, Y),
    "pipeline": lambda est: make_pipeline(FunctionTransformer(), est).fit(FRAME, Y),
    "cross-validation": lambda est: cross_val_score(est, FRAME, Y, cv=2),
}


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("x + zero + (1 | g)", "not identified by the data"),
        ("(year || g)", "far outside the data"),
        ("(1 | x)", "as many levels as rows"),
    ],
)
@pytest.mark.parametrize("how", WAYS)
def test_a_warning_is_of_the_line_that_called_us(formula, message, how):
    est = MixedModelRegressor(formula, draws=400, random_state=0)
    with pytest.warns(UserWarning, match=message) as caught:
        WAYS[how](est)

    assert {warning.filename for warning in caught if message in str(warning.message)} == {__file__}


def test_a_long_list_is_cut():
    assert quoted(range(12), at_most=2) == "0, 1 and 10 more"
