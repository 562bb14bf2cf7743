"""Rows in parts are one fit of all rows, drawn when a value of the posterior is read and not before."""

import pickle
import re
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils.metadata_routing import get_routing_for_object

import bayesmixed as bm
from bayesmixed import FormulaError, MixedModelRegressor
from bayesmixed.estimators import base
from bayesmixed.estimators.summed import increments
from bayesmixed.formula.parse import parse
from bayesmixed.formula.terms import FIXED_SPLINE, calls_that_learn
from helpers.strategies import parts
from helpers.summed_cases import CASES, FAST, UNCENTRED, fit_rows, largest_difference, make_frame

FRAME = make_frame()
SLOPES = "y ~ x + (x | pupil)"
NOT_IN_PARTS = ("a spline", "no groups")  # their formulas learn from the rows
pytestmark = pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")


@pytest.fixture
def runs(monkeypatch):
    """How often the sampler has run."""
    counted, sample = [], base.sample
    monkeypatch.setattr(base, "sample", lambda *args: counted.append(1) or sample(*args))
    return counted


def in_parts(formula, frame, rows, of=None, options=None):
    of = of or {}
    est = MixedModelRegressor(formula, family=of.get("family", "gaussian"), categories={"k": list("abc")}, **FAST)
    est.set_params(**(options or {}))
    for at in rows:
        if len(at):
            some = frame.iloc[at]
            est.partial_fit(some, sample_weight=some["w"].to_numpy() if of.get("sample_weight") else None)
    return est


@pytest.mark.parametrize("case", [case for case in CASES if case not in NOT_IN_PARTS])
def test_rows_in_parts_are_one_fit(case):
    """By school: levels of other factors are not in all parts, nor are all categories."""
    formula, of, options = CASES[case]
    rows = [np.flatnonzero(FRAME["school"] == school) for school in (3, 1, 0, 2)]

    assert largest_difference(fit_rows(formula, FRAME, of, options), in_parts(formula, FRAME, rows, of, options)) < 1e-8


@settings(max_examples=10)
@given(st.sampled_from(["slopes", "crossed", "weights"]), parts(120))
def test_any_parts_are_one_fit(case, rows):
    formula, of, options = CASES[case]

    assert largest_difference(fit_rows(formula, FRAME, of, options), in_parts(formula, FRAME, rows, of, options)) < 1e-8


def test_rows_are_added_to_those_of_a_fit_and_of_condition():
    whole = fit_rows(SLOPES, FRAME, {}, {})
    fitted = fit_rows(SLOPES, FRAME[:70], {}, {}).partial_fit(FRAME[70:])
    conditioned = fit_rows(SLOPES, FRAME[:70], {}, {}).condition(FRAME[70:90]).partial_fit(FRAME[90:])
    loaded = pickle.loads(pickle.dumps(fit_rows(SLOPES, FRAME[:70], {}, {}))).partial_fit(FRAME[70:])
    of_sums = MixedModelRegressor(**FAST).fit(bm.SufficientStatistics.of(SLOPES, FRAME[:70])).partial_fit(FRAME[70:])

    assert whole.priors_ != fit_rows(SLOPES, FRAME[:70], {}, {}).priors_
    for est in (fitted, conditioned, loaded, of_sums):
        assert largest_difference(whole, est) < 1e-8


def test_a_fit_that_was_saved_learns_on(tmp_path):
    fit_rows(SLOPES, FRAME[:70], {}, {}).save(tmp_path / "est.bm")
    est = bm.load(tmp_path / "est.bm").partial_fit(FRAME[70:100])
    est.save(tmp_path / "est.bm")
    again = bm.load(tmp_path / "est.bm").partial_fit(FRAME[100:])

    assert largest_difference(fit_rows(SLOPES, FRAME, {}, {}), again) < 1e-8


def test_fit_starts_anew():
    est = MixedModelRegressor(SLOPES, **FAST).partial_fit(FRAME[:70])
    est.fit(FRAME[70:])

    assert largest_difference(fit_rows(SLOPES, FRAME[70:], {}, {}), est) == 0
    assert est._rows.n_rows == 50


def test_the_posterior_is_drawn_when_a_value_of_it_is_read(runs):
    est = MixedModelRegressor(SLOPES, **FAST)
    for rows in np.array_split(np.arange(120), 30):
        est.partial_fit(FRAME.iloc[rows])
    assert "120, not yet sampled" in repr(est)
    assert "120, not yet sampled" in est._repr_html_()
    clone(est)
    pickle.loads(pickle.dumps(est))
    assert hasattr(est, "partial_fit")
    assert not hasattr(est, "classes_")
    assert est.feature_names_in_.tolist() == list(FRAME)
    assert runs == []

    mean = est.predict(FRAME)
    est.coef_, est.idata_, est.summary(), est.priors_, est.diagnostics_
    assert runs == [1]
    est.partial_fit(FRAME[:5])
    assert runs == [1]
    assert not np.array_equal(est.predict(FRAME), mean)
    assert runs == [1, 1]


@pytest.mark.parametrize("name", ["coef_", "intercept_", "idata_", "priors_", "diagnostics_", "design_spec_"])
def test_every_value_of_the_posterior_draws_it(name, runs):
    est = MixedModelRegressor(SLOPES, **FAST).partial_fit(FRAME)
    getattr(est, name)

    assert runs == [1]
    with pytest.raises((AttributeError, NotFittedError)):
        getattr(MixedModelRegressor(SLOPES), name)


def test_threads_wait_for_one_run(runs):
    est, found = MixedModelRegressor(SLOPES, **FAST).partial_fit(FRAME), []
    threads = [threading.Thread(target=lambda: found.append(est.predict(FRAME))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert runs == [1]
    assert all(np.array_equal(found[0], other) for other in found)


def test_threads_may_add_rows():
    est, parts_ = MixedModelRegressor(SLOPES, **FAST), np.array_split(np.arange(120), 24)
    threads = [threading.Thread(target=est.partial_fit, args=(FRAME.iloc[rows],)) for rows in parts_]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert est._rows.n_rows == 120
    assert est._rows.checksum == fit_rows(SLOPES, FRAME, {}, {})._rows.checksum


def test_a_generator_is_asked_for_a_seed_once():
    rng = np.random.RandomState(0)
    est = MixedModelRegressor(SLOPES, **{**FAST, "random_state": rng}).partial_fit(FRAME[:60])
    state = rng.get_state()[2]
    est.partial_fit(FRAME[60:]).predict(FRAME)

    assert rng.get_state()[2] == state


def test_a_pickle_does_not_grow_with_the_number_of_parts():
    few, many = (MixedModelRegressor(SLOPES, **FAST) for _ in range(2))
    for i in range(300):
        many.partial_fit(FRAME.iloc[[i % 120]])
        if i % 100 == 0:
            few.partial_fit(FRAME)

    assert len(pickle.dumps(many)) < 1.01 * len(pickle.dumps(few))


# ---- what is refused leaves the estimator as it was


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": np.nan}, ValueError, "missing values"),
        ({"pupil": None}, ValueError, "missing labels"),
        ({"pupil": 3}, FormulaError, "column 'pupil' holds str labels in one part"),
        ({"k": "d"}, FormulaError, r"levels that the first rows did not have: 'd' .* categories={'k': \[...\]}"),
        ({"y": np.inf}, ValueError, "Input y contains NaN or infinity"),
        ({"x": "text"}, FormulaError, "'x' was a number in fit but is text now"),
    ],
)
@pytest.mark.parametrize("drawn", [False, True])
def test_a_part_that_is_refused_changes_nothing(change, error, message, drawn):
    est = MixedModelRegressor("y ~ x + k + (1 | pupil)", **FAST).partial_fit(FRAME[:60])
    if drawn:
        est.predict(FRAME)
    before = vars(est).copy()
    with pytest.raises(error, match=message):
        est.partial_fit(FRAME[60:].assign(**change))

    assert vars(est) == before
    assert largest_difference(est, fit_rows("y ~ x + k + (1 | pupil)", FRAME[:60], {}, {})) < 1e-8


def test_a_first_part_that_is_refused_leaves_nothing():
    est = MixedModelRegressor(SLOPES, **FAST)
    before = vars(est).copy()
    with pytest.raises(ValueError, match="missing values"):
        est.partial_fit(FRAME.assign(x=np.nan))

    assert {name: value for name, value in vars(est).items() if name != "_lock"} == before


def test_a_first_part_that_is_refused_takes_nothing_of_another_threads_part(monkeypatch):
    est, begun, refused = MixedModelRegressor(SLOPES, **FAST), threading.Event(), threading.Event()

    def wait_for_the_other(parsed, where):
        begun.set()
        assert refused.wait(10)
        raise FormulaError("no")

    def bad():
        with pytest.raises(FormulaError, match="no"):
            est.partial_fit(FRAME)

    monkeypatch.setattr(increments, "refuse_learning", wait_for_the_other)
    first, second = threading.Thread(target=bad), threading.Thread(target=est.partial_fit, args=(FRAME,))
    first.start()
    assert begun.wait(10)
    monkeypatch.undo()
    second.start()
    second.join(0.3)  # it has to be waiting for the lock by then
    refused.set()
    first.join()
    second.join()

    assert largest_difference(est, fit_rows(SLOPES, FRAME, {}, {})) < 1e-8


def test_what_all_rows_have_to_show_is_asked_when_the_posterior_is_drawn():
    est = MixedModelRegressor("y ~ x + (1 | pupil)", **FAST).partial_fit(FRAME[FRAME["pupil"] == "p01"])
    with pytest.raises(FormulaError, match="'pupil' has a single level, 'p01'"):
        est.predict(FRAME)
    est.partial_fit(FRAME[FRAME["pupil"] != "p01"])

    assert largest_difference(est, fit_rows("y ~ x + (1 | pupil)", FRAME, {}, {})) < 1e-8


@pytest.mark.parametrize("formula", ["y ~ scale(x)", "y ~ bs(z, df=4)", "y ~ poly(x, 2)", "y ~ (center(x) | pupil)"])
def test_functions_that_learn_from_rows_are_refused(formula):
    with pytest.raises(FormulaError, match=r"would learn only from the first rows of partial_fit.* Compute the column"):
        MixedModelRegressor(formula).partial_fit(FRAME)


def test_a_spline_of_stated_knots_is_the_cure():
    with pytest.raises(
        FormulaError, match=r"A spline with stated knots learns nothing: .*bs\(x, knots=\[2, 5\], lower"
    ):
        MixedModelRegressor("y ~ bs(z, df=4)").partial_fit(FRAME)
    with pytest.raises(FormulaError, match="would learn"):  # its boundary knots
        MixedModelRegressor(f"y ~ 0 + bs(z, knots=[1, 2]{UNCENTRED})").partial_fit(FRAME)


@pytest.mark.parametrize("name", ["examples/README.md", "CHANGELOG.md"])
def test_the_spline_that_is_named_learns_nothing_from_rows(name):
    found = re.findall(r"`([^`]*bs\([^`]*lower_bound[^`]*)`", (Path(bm.__file__).parents[1] / name).read_text())

    assert found == ["0 + bs(x, knots=[2, 5], lower_bound=0, upper_bound=9, center=False)"]
    if "center" in FIXED_SPLINE:  # a word of formulae since 0.8
        assert calls_that_learn(parse(f"y ~ {found[0]}").common) == []


def test_functions_that_learn_nothing_are_not():
    formula = "y ~ log(z) + poly(x, 2, raw=True) + C(k, Sum) + (1 | pupil)"
    halves = [np.arange(0, 120, 2), np.arange(1, 120, 2)]

    assert largest_difference(fit_rows(formula, FRAME, {}, {}), in_parts(formula, FRAME, halves)) < 1e-8


def test_families_and_fits_that_need_their_rows_are_refused(fake_nuts):
    with pytest.raises(
        ValueError, match="partial_fit is only for families 'gaussian', 'lognormal'; 't' needs all rows"
    ):
        MixedModelRegressor(SLOPES, family="t").partial_fit(FRAME)
    by_nuts = MixedModelRegressor(SLOPES, sampler="nuts", random_state=0).fit(FRAME)
    with pytest.raises(ValueError, match="partial_fit adds to sums over rows"):
        by_nuts.partial_fit(FRAME)
    assert by_nuts.predict(FRAME).shape == (120,)


def test_columns_of_later_parts_are_those_of_the_first():
    X, y = FRAME[["x", "z"]].to_numpy(), FRAME["y"].to_numpy()
    est = MixedModelRegressor(**FAST).partial_fit(X[:50], y[:50])
    with pytest.raises(ValueError, match="X has 1 features"):
        est.partial_fit(X[:, :1], y)
    est.partial_fit(X[50:], y[50:])

    assert largest_difference(MixedModelRegressor(**FAST).fit(X, y), est) < 1e-8


def test_weights_are_routed_to_a_step_of_a_pipeline():
    with config_context(enable_metadata_routing=True):
        est = MixedModelRegressor(SLOPES, **FAST).set_partial_fit_request(sample_weight=True)
        requests = get_routing_for_object(est)
        assert requests.partial_fit.requests == {"sample_weight": True}
        assert make_pipeline(est) is not None


def test_pandas_categories_state_their_levels():
    typed = FRAME.assign(k=pd.Categorical(FRAME["k"]))
    formula = "y ~ k*x + (1 | pupil)"
    est = MixedModelRegressor(formula, **FAST)
    for label in "bca":
        est.partial_fit(typed[typed["k"] == label])

    assert largest_difference(fit_rows(formula, FRAME, {}, {}), est) < 1e-8


# ---- limits that the docstring states


@pytest.mark.parametrize("formula", ["y ~ x*k", "y ~ k + x:k"])
def test_products_with_a_column_far_from_zero_are_refused(formula):
    near, far = (FRAME.assign(x=FRAME["x"] + FRAME["x"].std() * times) for times in (1000, 100_000))

    assert (
        largest_difference(MixedModelRegressor(formula, **FAST).partial_fit(near), fit_rows(formula, near, {}, {}))
        < 1e-6
    )
    with pytest.raises(FormulaError, match=r"sums over rows are not precise enough for 'x:k"):
        MixedModelRegressor(formula, **FAST).partial_fit(far).predict(far)


def test_a_residual_that_is_tiny_beside_the_effects_needs_the_rows():
    rng = np.random.default_rng(0)
    effect = rng.normal(size=14)[FRAME["pupil"].str[1:].astype(int)]
    tiny = FRAME.assign(y=FRAME["x"] + effect + 1e-6 * rng.normal(size=120))

    with pytest.raises(bm.SamplerError, match="Only NUTS is left, but it needs the rows, not sums"):
        MixedModelRegressor("y ~ x + (1 | pupil)", **FAST).partial_fit(tiny).predict(tiny)
