"""Rows are taken away from sums: what is left is fitted as if they had never come, or refused if sums cannot tell."""

import warnings

import numpy as np
import pytest

from bayesmixed import MixedModelRegressor, SufficientStatistics
from helpers.summed_cases import make_frame

FRAME = make_frame()
LATE = np.arange(120) % 14 > 3  # all items, in both
FORMULA = "y ~ x + (x | pupil)"


def of(frame, formula=FORMULA, **options):
    return SufficientStatistics.of(formula, frame, **options)


def draws(source, formula):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MixedModelRegressor(formula, random_state=0, draws=100).fit(source)._posterior.draws.values


def assert_fits_like(left, rows, formula, rtol=1e-6):
    found, expected = draws(left, formula), draws(rows, formula)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=rtol, atol=rtol * np.std(values), err_msg=name)


# ---- weights and values that are not those of the first


def test_rows_of_other_weights_are_not_taken_away():
    double, single = of(FRAME, sample_weight=np.full(120, 2.0)), of(FRAME)
    for a, b in ((double, single), (single, double)):
        with pytest.raises(ValueError, match=r"not part of the first: .*(different weights|negative)"):
            a - b
    one = FRAME["pupil"] == FRAME["pupil"][0]
    with pytest.raises(ValueError, match=r"levels 'p.*' of 'pupil' have different weights"):
        double - of(FRAME[one], like=single)
    crossed = "y ~ x + (1 | pupil) + (1 | item)"
    pair = one & (FRAME["item"] == FRAME["item"][0])
    with pytest.raises(ValueError, match="pairs of 'pupil', 'item' have different weights"):
        of(FRAME, crossed, sample_weight=np.full(120, 2.0)) - of(FRAME[pair], crossed)
    with pytest.raises(ValueError, match="a level of a category has no rows left"):
        of(FRAME, "y ~ k", sample_weight=np.full(120, 2.0)) - of(
            FRAME[FRAME["k"] == "c"], "y ~ k", like=of(FRAME, "y ~ k")
        )


def test_as_many_rows_must_not_weigh_nothing():
    pupil = FRAME["pupil"] == FRAME["pupil"][0]
    heavy = FRAME[pupil].iloc[:1]
    with pytest.raises(ValueError, match="different weights"):
        of(FRAME) - of(heavy, like=of(FRAME), sample_weight=np.array([float(pupil.sum())]))


def test_a_response_of_other_rows_is_not_taken_away():
    """Its square about zero leaves something; about its mean, and beside the columns, less than nothing."""
    other = FRAME.assign(y=np.random.default_rng(0).permutation(FRAME["y"]))[:100]
    with pytest.raises(ValueError, match="a sum of squares would be negative"):
        of(FRAME) - of(other)


def test_slopes_of_other_rows_are_not_taken_away():
    frame = FRAME.assign(z=np.tile([1.0, -1.0], 60), pupil=np.repeat(np.arange(10), 12))
    few = frame[frame["pupil"] == 0].iloc[:10]
    with pytest.raises(ValueError, match="a sum of squares would be negative"):
        of(frame, "y ~ x + (z | pupil)") - of(few.assign(z=[1.0] * 8 + [0] * 2), "y ~ x + (z | pupil)")


# ---- what rounding hides


@pytest.mark.parametrize("far", [1e7, 1e8, 1e9])
def test_what_is_left_of_a_column_beside_a_value_far_off_is_refused(far):
    frame = FRAME.assign(x=np.where(np.arange(120) == 7, far, FRAME["x"]))
    for formula in (FORMULA, "y ~ x + (1 | pupil)", "y ~ 1 + (x | pupil)", "y ~ 1 + (0 + x | pupil)"):
        with pytest.raises(ValueError, match=r"rounding errors for 'x.*Sum the remaining rows again"):
            of(frame, formula) - of(frame[7:8], formula)
    with pytest.raises(ValueError, match="rounding errors for 'y'"):
        of(FRAME.assign(y=FRAME["y"] + frame["x"])) - of(FRAME.assign(y=FRAME["y"] + frame["x"])[7:8])


def test_what_is_left_of_a_column_far_from_the_rows_taken_away_is_refused():
    frame = FRAME.assign(x=FRAME["x"] + np.where(np.arange(120) < 30, 0.0, 1e9))
    with pytest.raises(ValueError, match="rounding errors for 'x'"):
        of([frame[:30], frame[30:]]) - of(frame[:30])


def test_a_value_far_off_is_forgotten_where_sums_keep_enough():
    frame = FRAME.assign(x=np.where(np.arange(120) == 7, 1e4, FRAME["x"]))
    assert_fits_like(of(frame) - of(frame[7:8]), frame.drop(index=7), FORMULA)


def test_a_column_that_was_constant_stays_so():
    frame = FRAME.assign(c=3.3, zero=0.0)
    formula = "y ~ x + c + zero + (1 | pupil)"
    left = of(frame, formula) - of(frame[:30], formula)
    with pytest.warns(UserWarning, match=r"'c' is constant; 'zero' is all zero"):
        MixedModelRegressor(formula, random_state=0, draws=100).fit(left)


# ---- columns that are constant in what is left


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x + trt + (1 | pupil)",
        "y ~ x + trt + (trt | item)",
        "y ~ trt + (0 + trt | item)",
        "y ~ x * trt + (x | pupil)",
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_column_of_zeros_and_ones_may_become_constant(value, formula, seed):
    """Whatever the sign of the rounding that is left of it."""
    random = np.random.default_rng(seed)
    frame = FRAME.assign(trt=np.where(LATE, value, 1 - value), x=random.normal(size=120), y=random.normal(size=120))
    left = of(frame, formula) - of(frame[~LATE], formula)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.warns(UserWarning, match=f"'trt' is {'constant' if value else 'all zero'}"):
            MixedModelRegressor(formula, random_state=0, draws=100).fit(left)
    # told from the intercept by its prior alone, a column of ones makes rounding larger
    assert_fits_like(left, frame[LATE], formula, rtol=1e-4 if value else 1e-6)


@pytest.mark.parametrize("value", [0, 1])
def test_without_an_intercept_a_column_of_zeros_and_ones_may_become_constant(value):
    frame, formula = FRAME.assign(trt=np.where(LATE, value, 1 - value)), "y ~ 0 + x + trt + (0 + trt | item)"
    assert_fits_like(of(frame, formula) - of(frame[~LATE], formula), frame[LATE], formula)


def test_a_category_may_lose_levels_together_with_its_slopes():
    frame = FRAME.assign(x=FRAME["x"] + 1e3)
    formula = "y ~ k * x + (k | pupil)"
    gone = frame["k"] == "c"
    left = of(frame, formula) - of(frame[gone], formula, like=of(frame, formula))
    assert_fits_like(left, frame[~gone], formula)
    a = left - of(frame[frame["k"] == "b"], formula, like=left)
    assert (a + of(frame[frame["k"] == "b"], formula, like=a)).n_rows == left.n_rows


def test_any_other_column_that_becomes_constant_is_refused():
    frame = FRAME.assign(year=np.where(LATE, 2020, 2019))
    with pytest.raises(ValueError, match="rounding errors for 'year', or these columns are constant"):
        of(frame, "y ~ year + (1 | pupil)") - of(frame[~LATE], "y ~ year + (1 | pupil)")


def test_all_rows_may_be_taken_away():
    nothing = of(FRAME) - of(FRAME)
    assert nothing.n_rows == 0
    assert_fits_like(nothing + of(FRAME), FRAME, FORMULA)
