"""A fit of sums over rows is the fit of the rows: the same draws, whatever the parts and their order."""

from functools import reduce
from operator import add

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesmixed as bm
from bayesmixed import SufficientStatistics
from helpers.strategies import parts
from helpers.summed_cases import (
    CASES,
    FAST,
    fit_rows,
    fit_sums,
    large_crossed,
    largest_difference,
    make_frame,
)

FRAME = make_frame()
SLOPES = "y ~ x + (x | pupil)"
pytestmark = [
    pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto:UserWarning"),  # of loo, on few rows
]


def sums(formula, frame, of, **more):
    return SufficientStatistics.of(formula, frame, **of, **more)


@pytest.mark.parametrize("case", CASES)
def test_draws_of_sums_are_those_of_the_rows(case):
    """Parts by school, so that levels of other factors are not in all of them; added in another order."""
    formula, of, options = CASES[case]
    rows = fit_rows(formula, FRAME, of, options)
    whole = sums(formula, FRAME, of)
    by_school = [sums(formula, frame, of, like=whole) for _, frame in FRAME.groupby("school")]

    assert largest_difference(rows, fit_sums(whole, of, options)) < 1e-12
    total = by_school[2] + by_school[0] + (by_school[3] + by_school[1])
    assert largest_difference(rows, fit_sums(total, of, options)) < 1e-8
    assert total.checksum == whole.checksum == rows._rows.checksum


def test_draws_of_a_large_crossed_design_are_those_of_the_rows():
    frame, formula = large_crossed(), "y ~ x + (1 | a) + (1 | b)"
    rows = bm.MixedModelRegressor(formula, **FAST).fit(frame)
    total = reduce(add, [sums(formula, frame[i::3], {}) for i in range(3)])

    assert rows.diagnostics_["sampler"] == "gibbs"
    assert largest_difference(rows, fit_sums(total, {}, {})) < 1e-8


@settings(max_examples=12)
@given(st.sampled_from(["slopes", "crossed", "nested", "weights", "no groups"]), parts(120), st.randoms())
def test_draws_do_not_depend_on_parts_and_their_order(case, rows, random):
    formula, of, options = CASES[case]
    whole = sums(formula, FRAME, of)
    found = [sums(formula, FRAME.iloc[at], of, like=whole) for at in rows if len(at)]
    random.shuffle(found)

    assert largest_difference(fit_sums(whole, of, options), fit_sums(reduce(add, found), of, options)) < 1e-8


@pytest.mark.parametrize("case", ["slopes", "nested", "crossed", "weights", "log-normal", "no groups"])
def test_what_is_left_of_a_sum_is_the_other_part(case):
    """Levels that only the first part has are gone."""
    formula, of, options = CASES[case]
    whole = sums(formula, FRAME, of)
    first, second = FRAME["pupil"] < "p05", FRAME["pupil"] >= "p05"
    a, b = (sums(formula, FRAME[rows], of, like=whole) for rows in (first, second))
    left = (a + b) - a

    assert [len(group.levels) for group in left.groups] == [len(group.levels) for group in b.groups]
    assert (left.n_rows, left.checksum) == (b.n_rows, b.checksum)
    assert largest_difference(fit_sums(left, of, options), fit_sums(b, of, options)) < 1e-7


def test_a_fit_of_sums_predicts_conditions_and_leaves_rows_out():
    rows, of_sums = fit_rows(SLOPES, FRAME, {}, {}), fit_sums(sums(SLOPES, FRAME, {}), {}, {})
    new = FRAME.head(5).assign(pupil=["p00", "p99", "p98", "p01", "p02"])

    np.testing.assert_allclose(of_sums.predict(new, return_std=True), rows.predict(new, return_std=True), atol=1e-8)
    np.testing.assert_allclose(of_sums.score(FRAME), rows.score(FRAME), atol=1e-10)
    np.testing.assert_allclose(of_sums.condition(new).predict(new), rows.condition(new).predict(new), atol=1e-8)
    np.testing.assert_allclose(of_sums.loo(FRAME).log_likelihood, rows.loo(FRAME).log_likelihood, rtol=1e-8)
    pd.testing.assert_frame_equal(of_sums.variance_components(), rows.variance_components(), rtol=1e-8)
    assert "observed_data" in names_of(rows.idata_)
    assert "observed_data" not in names_of(of_sums.idata_)
    assert "120" in repr(of_sums)
    with pytest.raises(ValueError, match="loo needs the rows of the fit"):
        of_sums.loo(FRAME.assign(pupil="p00"))


def names_of(idata):
    """Groups of an InferenceData, or a DataTree."""
    return [name.strip("/") for name in (idata.groups() if callable(idata.groups) else idata.groups)]


def test_a_fit_of_sums_is_saved_and_learns_on(tmp_path):
    fit_sums(sums(SLOPES, FRAME[:70], {}), {}, {}).save(tmp_path / "est.bm")
    loaded = bm.load(tmp_path / "est.bm")

    np.testing.assert_allclose(loaded.predict(FRAME), fit_rows(SLOPES, FRAME[:70], {}, {}).predict(FRAME), atol=1e-8)
    assert largest_difference(fit_rows(SLOPES, FRAME, {}, {}), loaded.partial_fit(FRAME[70:])) < 1e-8
    assert names_of(loaded.condition(FRAME[:5]).idata_) == names_of(loaded.idata_)


def test_blocks_and_priors_are_the_estimators():
    whole = sums("y ~ x + (x | pupil)", FRAME, {})
    for options in ({"group_prior": "independent"}, {"lkj_eta": 5.0}, {"sampler": "gibbs"}):
        assert (
            largest_difference(fit_rows("y ~ x + (x | pupil)", FRAME, {}, options), fit_sums(whole, {}, options)) < 1e-8
        )


def test_names_and_number_of_features_are_the_formulas():
    est = fit_sums(sums("y ~ x*k + (z | pupil)", FRAME, {}), {}, {})

    assert est.feature_names_in_.tolist() == ["x", "k", "pupil", "z"]
    assert est.n_features_in_ == 4


def test_levels_that_never_came_are_left_out_of_a_fit():
    """The first of the levels, too, with which the others are compared."""
    for declared in (["zero", "a", "b", "c"], ["a", "b", "b2", "c"]):
        for formula in ("y ~ k*x + (1 | pupil)", "y ~ C(k, Sum) + (k | pupil)", "y ~ 0 + k + (1 | pupil)"):
            a, b = (sums(formula, FRAME[i::2], {}, categories={"k": declared}) for i in range(2))
            found, rows = fit_sums(a + b, {}, {}), fit_rows(formula, FRAME, {}, {})

            assert found.design_spec_.common_names == rows.design_spec_.common_names
            assert largest_difference(rows, found) < 1e-8
            np.testing.assert_allclose(found.predict(FRAME), rows.predict(FRAME), atol=1e-8)
            assert found.loo(FRAME).n_data_points == 120


def test_labels_may_be_replaced_before_they_are_sent():
    whole = sums(SLOPES, FRAME, {})
    secret = {label: 100 - i for i, label in enumerate(whole.groups[0].levels)}
    found, rows = fit_sums(whole.with_labels("pupil", secret), {}, {}), FRAME.assign(pupil=FRAME["pupil"].map(secret))

    assert found.design_spec_.groups[0].levels.tolist() == sorted(secret.values())
    assert largest_difference(fit_rows(SLOPES, rows, {}, {}), found) < 1e-8
    assert found.loo(rows).n_data_points == 120


# ---- what is refused


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"formula": "y ~ x + (1 | pupil)"}, bm.FormulaError, "the estimator's formula is 'y ~ x .* Write formula="),
        ({"formula": "z ~ x + (x | pupil)"}, bm.FormulaError, "the estimator's formula is 'z ~ x"),
        (
            {"family": "lognormal"},
            ValueError,
            "made for family 'gaussian', but the estimator has family='lognormal'",
        ),
        ({"family": "t"}, ValueError, "made for family 'gaussian', but the estimator has family='t'"),
        ({"sampler": "nuts"}, bm.SamplerError, "needs the rows, not sums over them"),
        ({"priors": {"x": bm.StudentT(3, 0, 1)}}, bm.SamplerError, "Only NUTS is left, but it needs the rows"),
    ],
)
def test_an_estimator_of_another_model_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        bm.MixedModelRegressor(**options).fit(sums(SLOPES, FRAME, {}))


def test_columns_of_which_sums_hold_nothing_are_refused():
    """Of a year's cube, beside the year and its square, 4e-7 is left."""
    formula = "y ~ year + {year ** 2} + {year ** 3} + (1 | pupil)"
    with pytest.raises(
        bm.FormulaError, match=r"are not precise enough for 'I\(year \*\* 3\)' next to .* Subtract a meaningful value"
    ):
        fit_sums(sums(formula, FRAME, {}), {}, {})
    centred = "y ~ year + {(year - 2010) ** 2} + {(year - 2010) ** 3} + (1 | pupil)"
    assert largest_difference(fit_rows(centred, FRAME, {}, {}), fit_sums(sums(centred, FRAME, {}), {}, {})) < 1e-8


def test_the_response_and_weights_are_in_the_statistics():
    whole = sums(SLOPES, FRAME, {})
    for more in ({"y": FRAME["y"]}, {"sample_weight": FRAME["w"]}):
        with pytest.raises(ValueError, match="the statistics already contain y and sample_weight"):
            bm.MixedModelRegressor().fit(whole, **more)
    with pytest.raises(TypeError, match="score needs rows, got SufficientStatistics"):
        fit_sums(whole, {}, {}).score(whole)


def test_a_one_sided_formula_is_the_same_on_the_right():
    whole = sums(SLOPES, FRAME, {})
    est = bm.MixedModelRegressor("x + (x | pupil)", **FAST).fit(whole)

    assert largest_difference(est, fit_sums(whole, {}, {})) == 0


# ---- what a fit says of its rows, by sums

RNG = np.random.default_rng(5)
STEP = FRAME.assign(
    line=FRAME["x"] * (FRAME["pupil"].str[1:].astype(int) + 1) + 3,
    level=FRAME["pupil"].str[1:].astype(float),
    both=FRAME["pupil"].str[1:].astype(float) + 2.0 * FRAME["item"],
    linear=3 + 2 * FRAME["x"],
    constant=7.0,
    zero=0.0,
    same=1e-3 * FRAME["x"] + 5,
    few=np.where(np.arange(120) < 2, 1.0, 1e-9),
    one=np.arange(120),
)


def outcome(fit):
    """The first error of a fit, or its warnings."""
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fit()
        except (ValueError, bm.SamplerError) as error:
            return [str(error)]
    return [str(w.message) for w in caught if not issubclass(w.category, bm.ConvergenceWarning)]


@pytest.mark.parametrize(
    ("formula", "weight"),
    [
        ("line ~ x + (x | pupil)", None),
        ("level ~ x + (1 | pupil)", None),
        ("level ~ (x | pupil)", None),
        ("both ~ x + (1 | pupil) + (1 | item)", None),
        ("linear ~ x + (1 | pupil)", None),
        ("linear ~ x", None),
        ("constant ~ x + (1 | pupil)", None),
        ("y ~ x + constant + (1 | pupil)", None),
        ("y ~ zero + x + (zero | pupil)", None),
        ("y ~ x + same + z + (1 | pupil)", None),
        ("y ~ z + (x + same | pupil)", None),
        ("y ~ z + (x || pupil) + (0 + same | pupil)", None),
        ("y ~ z + (0 + x | pupil) + (0 + {2 * x} | pupil)", None),
        ("y ~ x + (1 | one)", None),
        ("y ~ year + (year || pupil)", None),
        ("y ~ x + (1 | constant)", None),
        ("y ~ x + z + (x | pupil)", "few"),
        ("y ~ x + (x | pupil)", None),
    ],
)
def test_refusals_and_warnings_are_those_of_the_rows(formula, weight):
    frame = STEP if weight is None else STEP.assign(few=STEP["few"] / 100)
    w = None if weight is None else frame[weight].to_numpy()
    rows = outcome(lambda: bm.MixedModelRegressor(formula, **FAST).fit(frame, sample_weight=w))
    like = sums(formula, frame, {}, sample_weight=weight)
    halves = [sums(formula, frame[i::2], {}, sample_weight=weight, like=like) for i in range(2)]
    found = outcome(lambda: fit_sums(halves[0] + halves[1], {}, {}))

    assert found == rows


@pytest.mark.parametrize("method", ["partial_fit", "predict", "condition", "loo", "build_model"])
def test_methods_that_need_rows_say_so(method):
    statistics = bm.SufficientStatistics.of("y ~ x + (1 | pupil)", FRAME)
    est = bm.MixedModelRegressor("y ~ x + (1 | pupil)", **FAST).fit(statistics)
    before = vars(est).copy()
    with pytest.raises(TypeError, match=f"^{method} needs rows, got SufficientStatistics; .* a \\+ b adds"):
        getattr(est, method)(statistics)

    assert vars(est) == before


@pytest.mark.parametrize("method", ["bayes_r2", "predict_interval", "predict_draws", "sample_posterior_predictive"])
def test_other_methods_speak_of_rows_too(method):
    statistics = bm.SufficientStatistics.of("y ~ x + (1 | pupil)", FRAME)
    est = bm.MixedModelRegressor(**FAST).fit(statistics)
    with pytest.raises(TypeError, match="needs rows, got SufficientStatistics"):
        getattr(est, method)(statistics)
