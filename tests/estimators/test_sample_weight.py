"""Weights are counts: 2 is the row twice, 0 is no row. The log posterior is the same function, for both samplers."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest

from bayesmixed import (
    Exponential,
    HalfNormal,
    HalfStudentT,
    MixedModelClassifier,
    MixedModelRegressor,
    Normal,
    StudentT,
)
from bayesmixed._compat import dataset
from bayesmixed.design.spec import DesignSpec
from bayesmixed.estimators.identification.weights import warn_few_rows
from bayesmixed.estimators.inputs import learn
from bayesmixed.families import get_family
from bayesmixed.formula.parse import parse
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.gaussian.statistics import working_products
from bayesmixed.gaussian.units import Units
from bayesmixed.priors.resolve import resolve_priors
from bayesmixed.sampling.collapsed.regression import Rotated
from helpers.collapsed_twins import evaluate, make_frame, random_points

FRAME = make_frame()
Y = np.random.default_rng(3).normal(5, 2, 40) + 1.5 * (FRAME["pupil"] % 3).to_numpy()
COUNTS = np.arange(40) % 3
FRACTIONS = np.random.default_rng(5).gamma(2, size=40)
MODE = "FAST_COMPILE"  # plain Python: a few evaluations are not worth a compiler

USER = {
    "Intercept": Normal(3, 2),
    "x": Normal(1, 2),
    "sd_school": {"Intercept": Exponential(0.5), "x": HalfStudentT(3, 2.0)},
    "sigma": HalfNormal(1.5),
}
CASES = {
    "regression": ("x + z", {}),
    "regression, category": ("x * k", {}),
    "regression, no intercept": ("0 + x + k", {}),
    "regression, offset": ("x + offset(z)", {}),
    "regression, user's priors": ("x + z", {"priors": {"Intercept": Normal(1, 1), "z": Normal(2, 1)}}),
    "regression, transformed": ("scale(x) + center(z) + log(z)", {}),
    "intercepts": ("x + (1 | school)", {}),
    "slopes": ("x + (x | pupil)", {"lkj_eta": 1.3}),
    "independent slopes": ("x + (x + z | school)", {"group_prior": "independent"}),
    "nested": ("x + (x | school/pupil)", {}),
    "crossed": ("x + (x | pupil) + (1 | item)", {}),
    "category": ("k + (0 + k | school)", {}),
    "no intercept": ("0 + x + (0 + x | school)", {}),
    "offset": ("x + offset(z) + (x | school)", {}),
    "user's priors": ("x + z + (x | school)", {"priors": USER}),
    "transformed": ("scale(x) + poly(z, 2, raw=True) + center(c0) + (1 | school)", {}),
    "far slope": ("dose + (dose | pupil)", {}),
}
FOR_NUTS = ("regression, category", "slopes", "nested", "crossed", "far slope")
ONLY_NUTS = ("x + offset(z) + (1 | school)", {"priors": {"x": StudentT(3, 0, 2), "Intercept": HalfNormal(9)}})
# columns that depend on what formulae learns, and not by a scale and a shift alone, which the priors follow
LEARNED = {
    "interaction with a centred column": "center(x) * z + (1 | school)",
    "centred slope": "(center(x) | school)",
    "scaled slope": "(scale(x) | school)",
    "orthogonal polynomial": "poly(x, 2) + (1 | school)",
    "spline": "bs(x, df=4) + (1 | school)",
    "spline without inner knots": "bs(x, df=3) + (1 | school)",
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:(?s).*far outside the data:UserWarning"),  # what "far slope" is for
    pytest.mark.filterwarnings("ignore:(?s).*could not link to a BLAS:UserWarning"),
]


def repeated(counts, frame=FRAME, y=Y):
    """Every row as often as it counts."""
    rows = np.repeat(np.arange(len(frame)), counts)
    return frame.iloc[rows], y[rows]


def learned(formula, options, *rows):
    """Design and priors as `fit` learns them."""
    est = MixedModelRegressor(formula, **options)
    learned = learn(est, *rows, reset=None)
    design, family = learned.design, learned.model[1]
    return design, resolve_priors(design, family, est.priors, est.lkj_eta)


def collapsed(case, X, y, sample_weight=None):
    """Log posterior of the covariances and sigma, at points that are random and always the same."""
    design, priors = learned(*case, X, y, sample_weight)
    units = Units.learn(design, priors)
    if not design.groups:
        s = np.linspace(-2, 2, 50)
        sigma = units.scaling.y_scale * np.exp(s)
        return Rotated.of(design, priors, units).log_likelihood(s) + priors.auxiliary["sigma"].log_density(sigma)
    density = CollapsedDensity.of(design, priors, units, working_products(design, units))
    return evaluate(density, *random_points(density, 50))


def joint(case, X, y, sample_weight=None):
    """Log posterior of all that NUTS samples, likewise."""
    formula, options = case
    model = MixedModelRegressor(formula, **options).build_model(X, y, sample_weight)
    log_density, rng = model.compile_logp(mode=MODE), np.random.default_rng(0)
    shapes = {name: np.shape(start) for name, start in model.initial_point().items()}
    points = [{name: rng.normal(scale=0.5, size=shape) for name, shape in shapes.items()} for _ in range(4)]
    return np.array([float(log_density(point)) for point in points])


def assert_same(ours, theirs):
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(ours, theirs, rtol=1e-11)


# ---- the log posterior


@pytest.mark.parametrize("case", CASES)
def test_a_weight_of_two_is_the_row_twice_and_zero_is_no_row(case):
    assert_same(collapsed(CASES[case], FRAME, Y, COUNTS), collapsed(CASES[case], *repeated(COUNTS)))


@pytest.mark.slow
@pytest.mark.parametrize("case", [*(CASES[name] for name in FOR_NUTS), ONLY_NUTS], ids=[*FOR_NUTS, "other priors"])
def test_nuts_samples_the_same_log_posterior(case):
    assert_same(joint(case, FRAME, Y, COUNTS), joint(case, *repeated(COUNTS)))


@pytest.mark.parametrize("case", LEARNED)
def test_transformations_are_learned_from_rows_as_often_as_they_count(case):
    assert_same(collapsed((LEARNED[case], {}), FRAME, Y, COUNTS), collapsed((LEARNED[case], {}), *repeated(COUNTS)))


@pytest.mark.parametrize("case", ["scaled slope", "orthogonal polynomial", "spline"])
def test_transformations_take_every_row_once_where_weights_are_no_counts(case, monkeypatch):
    def state(weights):
        return learn(MixedModelRegressor(LEARNED[case]), FRAME, Y, weights, reset=None).model[0].state

    assert state(COUNTS + 1) != state(None)
    assert state(COUNTS + 1.5) == state(None)
    monkeypatch.setattr("bayesmixed.design.table.MAX_REPEATED", (COUNTS + 1).sum() - 1)
    assert state(COUNTS + 1) == state(None)


@pytest.mark.parametrize("case", ["regression", "slopes"])
@pytest.mark.parametrize(
    "counts",
    [np.full(40, 3), np.where(np.arange(40) == 7, 500, 1), np.where(np.arange(40) < 6, 0, 25)],
    ids=["all alike", "one of 500", "six rows of none"],
)
def test_any_counts(counts, case):
    assert_same(collapsed(CASES[case], FRAME, Y, counts), collapsed(CASES[case], *repeated(counts)))


@pytest.mark.parametrize("case", CASES)
def test_a_fractional_weight_can_be_split_over_equal_rows(case):
    rng = np.random.default_rng(6)
    part, order = FRACTIONS * rng.uniform(0.1, 0.9, 40), rng.permutation(80)
    split = np.append(part, FRACTIONS - part)[order]
    twice = pd.concat([FRAME, FRAME]).iloc[order], np.append(Y, Y)[order]

    assert_same(collapsed(CASES[case], FRAME, Y, FRACTIONS), collapsed(CASES[case], *twice, split))


@pytest.mark.slow
def test_a_fractional_weight_can_be_split_for_nuts():
    case = ("dose + offset(z) + (dose | pupil)", {})
    split = np.append(0.3 * FRACTIONS, 0.7 * FRACTIONS)
    twice = pd.concat([FRAME, FRAME]), np.append(Y, Y)

    assert_same(joint(case, FRAME, Y, FRACTIONS), joint(case, *twice, split))


@pytest.mark.parametrize("log_posterior", [collapsed, joint])
def test_levels_without_weight_are_not_learned(log_posterior):
    """Of a grouping factor, of those it is nested in, and of a category."""
    counts = (FRAME["school"] != 2) & (FRAME["pupil"] != 5) & (FRAME["k"] != "b")
    case = ("x + k + (1 | school/pupil)", {})
    design = learned(*case, FRAME, Y, counts)[0]
    left = FRAME[counts]

    assert design.common_names == ("x", "k[c]")
    for factor, combinations in zip(design.groups, (["school"], ["school", "pupil"]), strict=True):
        assert (
            len(factor.levels) == len(left[combinations].drop_duplicates()) < len(FRAME[combinations].drop_duplicates())
        )
    assert_same(log_posterior(case, FRAME, Y, counts), log_posterior(case, left, Y[counts]))


@pytest.mark.parametrize("case", ["regression", "slopes", "crossed"])
def test_weights_of_one_are_no_weights(case):
    assert_same(collapsed(CASES[case], FRAME, Y, np.ones(40)), collapsed(CASES[case], FRAME, Y))


# ---- the estimator

NEW = FRAME.head(6).assign(pupil=[99, 99, 98, 0, 1, 2], item=77)
FITTED = ("regression, category", "slopes", "nested", "crossed", "category", "offset")


def fit(case, *rows):
    formula, options = CASES[case]
    return MixedModelRegressor(formula, draws=250, random_state=0, **options).fit(*rows)


@pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")  # the chains are short
@pytest.mark.parametrize("case", FITTED)
def test_fits_with_weights_and_with_repeated_rows_are_the_same(case):
    """Draw by draw: under one seed the chains differ by rounding, which the search for modes makes a little larger."""
    weighted, plain = fit(case, FRAME, Y, COUNTS), fit(case, *repeated(COUNTS))

    for X in (FRAME, NEW):
        for ours, theirs in [
            (weighted.predict(X, return_std=True), plain.predict(X, return_std=True)),
            (weighted.predict_interval(X), plain.predict_interval(X)),
            (weighted.predict_draws(X), plain.predict_draws(X)),
        ]:
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    for name, values in plain._posterior.draws.values.items():
        np.testing.assert_allclose(weighted._posterior.draws.values[name], values, rtol=1e-6, atol=1e-6, err_msg=name)
    shares = [est.variance_components()["share"].to_numpy(float) for est in (weighted, plain)]
    np.testing.assert_allclose(*shares, rtol=1e-6)
    assert weighted.score(FRAME, Y, COUNTS) == pytest.approx(plain.score(*repeated(COUNTS)), rel=1e-6)


def test_a_posterior_has_the_rows_that_count():
    est = fit("slopes", FRAME.set_axis(np.arange(100, 140)), Y, COUNTS)
    observed = dataset(est.idata_, "observed_data")

    np.testing.assert_array_equal(observed["obs"], 100 + np.flatnonzero(COUNTS))
    np.testing.assert_array_equal(observed["y"], Y[COUNTS > 0])


def test_weights_come_in_any_dress():
    expected = fit("regression", FRAME, Y, COUNTS.astype(float)).coef_
    for weights in [COUNTS, COUNTS.tolist(), COUNTS.astype("float32"), pd.Series(COUNTS, index=np.arange(40)[::-1])]:
        np.testing.assert_array_equal(fit("regression", FRAME, Y, weights).coef_, expected)
    kept = COUNTS > 0
    np.testing.assert_allclose(
        fit("regression", FRAME, Y, kept).coef_, fit("regression", FRAME[kept], Y[kept]).coef_, rtol=1e-10
    )
    np.testing.assert_allclose(
        fit("regression", FRAME, Y, 2).coef_, fit("regression", *repeated(np.full(40, 2))).coef_, rtol=1e-10
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(39), r"sample_weight.shape == \(39,\), expected \(40,\)"),
        (np.ones((40, 2)), "Sample weights must be 1D array or scalar"),
        (np.where(np.arange(40) == 3, np.nan, 1), "sample_weight contains NaN"),
        (np.where(np.arange(40) == 3, np.inf, 1), "sample_weight contains infinity"),
        (np.where(np.arange(40) == 3, -1, 1), "Negative values in data passed to `sample_weight`"),
        (np.zeros(40), "with a positive weight|at least one non-zero number"),
        (np.arange(40) == 3, r"Found 1 sample\(s\) with a positive weight"),
    ],
)
def test_unusable_weights_are_refused(weights, message):
    est = MixedModelRegressor("x + (1 | school)")
    for use in (est.fit, est.build_model):
        with pytest.raises(ValueError, match=message):
            use(FRAME, Y, weights)


def test_rows_without_weight_may_hold_anything():
    """A missing label, a value that is missing, a level of its own, in columns and response."""
    bad = FRAME.astype({"pupil": float}).copy()
    y, counts = Y.copy(), COUNTS.copy()
    for at, (column, value) in enumerate([("x", np.nan), ("x", np.inf), ("pupil", np.nan), ("k", "other")]):
        bad.loc[at, column], y[at], counts[at] = value, np.nan, 0
    good = FRAME.astype({"pupil": float})
    case = ("x + k + (x | pupil)", {})

    np.testing.assert_array_equal(collapsed(case, bad, y, counts), collapsed(case, good, Y, counts))


@pytest.mark.parametrize("library", [pd.DataFrame, pl.from_pandas])
def test_score_reads_no_row_of_weight_zero(library):
    """Neither a response that is missing, nor a level that is refused, nor a column without a value."""
    est = MixedModelRegressor("x + (1 | school)", new_groups="error", random_state=0).fit(FRAME, Y)
    counts = np.where(np.arange(40) < 3, 0, 2)
    spoilt, y = FRAME.copy(), Y.copy()
    spoilt.loc[0, "x"], spoilt.loc[1, "school"], y[2] = np.nan, 999, np.nan

    assert est.score(library(spoilt), y, counts) == est.score(FRAME[3:], Y[3:], counts[3:])
    assert est.score(library(spoilt), y.tolist(), counts.tolist()) == est.score(FRAME[3:], Y[3:])
    with pytest.raises(ValueError, match=r"sample_weight\.shape == "):
        est.score(FRAME, Y, counts[3:])


@pytest.mark.parametrize("kind", [MixedModelRegressor, MixedModelClassifier])
def test_score_rejects_weights_that_fit_rejects_and_rows_that_do_not_count(kind):
    """Negative weights gave a number, weights that are all 0 an error about the labels."""
    y = Y if kind is MixedModelRegressor else (np.median(Y) < Y).astype(int)
    est = kind("x", draws=100, random_state=0).fit(FRAME, y)

    with pytest.raises(ValueError, match="Negative values"):
        est.score(FRAME, y, -np.ones(40))
    with pytest.raises(ValueError, match="contains NaN"):
        est.score(FRAME, y, np.full(40, np.nan))
    with pytest.raises(ValueError, match=r"at least one (row with a positive weight|non-zero number)"):
        est.score(FRAME, y, np.zeros(40))
    with pytest.raises(ValueError, match="score needs at least one row, got 0 rows"):
        est.score(FRAME[:0], y[:0])
    with pytest.raises(ValueError, match=r"must be numeric|y holds text"):
        est.score(FRAME, y.astype(str))
    with pytest.raises(ValueError, match="Input y contains NaN or infinity in 1 of 40 rows"):
        est.score(FRAME, np.r_[np.nan, y[1:]])
    assert est.score(FRAME, y, 3.0) == pytest.approx(est.score(FRAME, y))


@pytest.mark.parametrize(
    ("formula", "weights", "parameters"),
    [
        ("x + (x | g)", np.full(40, 1 / 40), 6),  # Intercept, x, two sds, a correlation, sigma
        ("x + (x || g)", np.full(40, 0.1), 5),
        ("x", np.full(40, 0.05), 3),
        ("0 + x + k", np.linspace(0.001, 0.2, 40), 5),  # k has 3 columns
        ("x*k + (k | g)", np.full(40, 0.3), 13),
        ("1 + (1 | g)", np.r_[np.zeros(20), np.full(20, 0.1)], 3),
        (None, np.full(40, 1e-3), 3),
    ],
)
def test_weights_that_add_up_to_less_than_the_parameters_are_named(formula, weights, parameters):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=40)})
    if formula is not None:
        frame = frame.assign(g=list("abcdefgh") * 5, k=[*"pqr" * 13, "p"])
    est = MixedModelRegressor(formula, draws=50, random_state=0)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        est.fit(frame, rng.normal(size=40), weights)
    found = [str(warning.message) for warning in caught if "sample_weight" in str(warning.message)]
    assert len(found) == 1
    assert f"adds up to {weights.sum():.4g}, less than the number of parameters ({parameters})" in found[0]
    assert "weights / weights.mean()" in found[0]


@pytest.mark.parametrize(
    "weights", [None, np.ones(40), np.full(40, 0.5), np.r_[np.ones(5), np.zeros(35)], np.full(40, 9.0)]
)
def test_weights_that_may_be_counts_are_left_alone(weights):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=40)})
    design = DesignSpec.learn(parse("x"), frame, y=rng.normal(size=40))[1]
    if weights is not None:
        design = replace(design, X=design.X[weights > 0], weights=weights[weights > 0])

    warn_few_rows(design, get_family("gaussian"))
