"""The scikit-learn face, on a sampler that costs nothing: data in, errors, predictions out."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score

from bayesmixed import FormulaError, HalfNormal, MixedModelRegressor, NewGroupError, Normal, PriorError
from bayesmixed._compat import dataset
from bayesmixed.datasets import load_sleepstudy

DATA = load_sleepstudy()
Y = DATA["Reaction"]
FORMULA = "Days + (Days | Subject)"

pytestmark = pytest.mark.usefixtures("fake_sampler")


def regressor(formula=FORMULA, **options):
    return MixedModelRegressor(formula, **{"draws": 20, "chains": 2, "random_state": 0, **options})


@pytest.fixture
def fitted():
    return regressor().fit(DATA, Y)


# ---- fit


def test_fitted_attributes(fitted):
    assert fitted.coef_.shape == (1,)
    assert isinstance(fitted.intercept_, float)
    assert fitted.n_features_in_ == 3
    assert fitted.feature_names_in_.tolist() == ["Reaction", "Days", "Subject"]
    assert fitted.priors_.swept == {"Days": {"Intercept": 4.5}}
    assert fitted.diagnostics_["reason"] == "sampler='auto'"
    assert list(dataset(fitted.idata_, "posterior")) == [
        "Intercept",
        "beta",
        "b_Subject",
        "sd_Subject",
        "corr_Subject",
        "sigma",
    ]


def test_constructor_stores_only_and_clone_keeps_it():
    params = {"priors": {"sigma": HalfNormal(1)}, "new_groups": {"Subject": "zero"}, "lkj_eta": {"Subject": 4}}
    est = regressor(**params)
    copy = clone(est)

    assert est.get_params() == copy.get_params()
    assert est.get_params()["priors"] is params["priors"]
    regressor(**params).fit(DATA, Y)
    assert params["priors"] == {"sigma": HalfNormal(1)}, "fit does not touch its parameters"


def test_two_sided_formula_takes_y_from_x_and_a_given_y_wins():
    two_sided = regressor("Reaction ~ " + FORMULA)
    one_sided = regressor().fit(DATA, Y)

    assert two_sided.fit(DATA).intercept_ == one_sided.intercept_
    assert two_sided.score(DATA) == one_sided.score(DATA, Y)
    assert two_sided.fit(DATA, Y * 2).intercept_ != one_sided.intercept_


def test_formula_none_is_regression_on_all_columns():
    X = DATA[["Days"]].assign(flag=DATA["Days"] > 4)
    est = regressor(None).fit(X, Y)
    on_array = regressor(None).fit(X.to_numpy(float), Y.to_numpy())

    assert est.design_spec_.common_names == ("Days", "flag")
    assert on_array.design_spec_.common_names == ("x0", "x1")
    np.testing.assert_array_equal(est.predict(X), on_array.predict(X.to_numpy(float)))
    assert est.build_model(X, Y).coords["common_effect"] == ("Days", "flag")


def test_weight_zero_is_no_row_and_levels_are_learned_without_it():
    weights = (DATA["Subject"] != 308).to_numpy(float)
    weighted = regressor().fit(DATA, Y, sample_weight=weights)
    without = regressor().fit(DATA[DATA["Subject"] != 308], Y[DATA["Subject"] != 308])

    assert 308 not in weighted.design_spec_.groups[0].levels
    np.testing.assert_array_equal(weighted.predict(DATA), without.predict(DATA))


def test_a_generator_state_is_resolved_into_one_seed():
    state = np.random.RandomState(5)
    first = regressor(random_state=state).fit(DATA, Y)
    second = regressor(random_state=state).fit(DATA, Y)
    again = regressor(random_state=np.random.RandomState(5)).fit(DATA, Y)

    assert first.intercept_ == again.intercept_ != second.intercept_
    new = DATA.head(1).assign(Subject=1)
    np.testing.assert_array_equal(first.predict_draws(new), first.predict_draws(new))


def test_obs_coordinate_is_the_index():
    frame = DATA.set_index(pd.Index([f"r{i}" for i in range(180)]))
    est = regressor().fit(frame, Y.to_numpy())

    assert dataset(est.idata_, "observed_data")["obs"].values[7] == "r7"
    assert est.predict_draws(frame.iloc[[9, 3]])["obs"].values.tolist() == ["r9", "r3"]
    assert est.predict_draws(DATA.head(2))["obs"].values.tolist() == [0, 1]
    by_pair = DATA.set_index(["Subject", "Days"], drop=False)
    assert est.predict_draws(by_pair.head(1))["obs"].values.tolist() == ["(308, 0)"]


def test_y_is_aligned_by_position(fitted):
    shuffled = Y.sample(frac=1, random_state=0)

    assert regressor().fit(DATA, shuffled.to_numpy()).intercept_ == regressor().fit(DATA, shuffled).intercept_


# ---- predict


def test_score_is_r2(fitted):
    assert fitted.score(DATA, Y) == r2_score(Y, fitted.predict(DATA))
    weights = np.arange(180) % 3
    assert fitted.score(DATA, Y, weights) == r2_score(Y, fitted.predict(DATA), sample_weight=weights)


def test_predict_needs_only_the_formulas_columns(fitted):
    expected = fitted.predict(DATA)

    np.testing.assert_array_equal(fitted.predict(DATA[["Subject", "Days"]]), expected)
    np.testing.assert_array_equal(fitted.predict(DATA.assign(other="x")), expected)
    common = fitted.predict(DATA[["Days"]], include_groups=False)
    np.testing.assert_allclose(common, fitted.intercept_ + DATA["Days"] * fitted.coef_[0])


def test_modes_can_be_overridden_per_call():
    est = regressor(new_groups="error").fit(DATA, Y)
    new = DATA.head(2).assign(Subject=[1, 2])

    with pytest.raises(NewGroupError, match="'Subject' has 2 levels not seen in fit: 1, 2"):
        est.predict(new)
    np.testing.assert_allclose(est.predict(new, new_groups="zero"), est.predict(new, include_groups=False))
    assert np.isnan(est.predict(new, new_groups="nan", return_std=True)).all()
    assert np.isfinite(est.predict(DATA.head(2))).all(), "known levels pass"


def test_new_groups_widen_the_prediction(fitted):
    known, new = DATA.head(1), DATA.head(1).assign(Subject=-1)

    assert fitted.predict(new, return_std=True)[1] > fitted.predict(new, return_std=True, new_groups="zero")[1]
    assert fitted.predict(known, return_std=True)[1].shape == (1,)


def test_predict_draws(fitted):
    draws = fitted.predict_draws(DATA.head(3), kind="mean", n_draws=10)

    assert draws.dims == ("chain", "draw", "obs")
    assert draws.shape == (2, 5, 3)
    assert draws["draw"].values.tolist() == [0, 4, 8, 12, 16]
    every = fitted.predict_draws(DATA.head(3), kind="mean")
    np.testing.assert_allclose(every.mean(("chain", "draw")), fitted.predict(DATA.head(3)))
    np.testing.assert_array_equal(every.sel(draw=draws["draw"]), draws)


def test_predict_draws_refuses_an_unknown_kind(fitted):
    with pytest.raises(ValueError, match="kind must be one of 'response', 'mean', 'linear', got 'median'"):
        fitted.predict_draws(DATA, kind="median")


def test_idata_is_built_once_and_never_edited(fitted):
    first = fitted.idata_
    fitted.predict(DATA.assign(Subject=1))

    assert fitted.idata_ is first


# ---- bad input


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"group_prior": "wishart"}, "'group_prior' parameter"),
        ({"group_prior": {"Site": "lkj"}}, "group_prior names 'Site'; the formula's grouping factors are 'Subject'"),
        ({"group_prior": {"Subject": "wishart"}}, "group_prior must be one of 'lkj', 'independent'"),
        ({"lkj_eta": 0}, "'lkj_eta' parameter"),
        ({"lkj_eta": {"Site": 1}}, "lkj_eta names 'Site'"),
        ({"priors": "wide"}, "'priors' parameter"),
        ({"priors": {"Dayz": Normal()}}, "unknown prior 'Dayz'"),
        ({"family": "zip"}, "family must be one of 'gaussian', .*, got 'zip'"),
        ({"link": "log"}, "link of family 'gaussian'"),
        ({"sampler": "metropolis"}, "'sampler' parameter"),
        ({"draws": 0}, "'draws' parameter"),
        ({"chains": 1.5}, "'chains' parameter"),
        ({"tune": -1}, "'tune' parameter"),
        ({"target_accept": 1.0}, "'target_accept' parameter"),
        ({"cores": 0}, "'cores' parameter"),
        ({"nuts_backend": "stan"}, "'nuts_backend' parameter"),
        ({"new_groups": "average"}, "'new_groups' parameter"),
        ({"new_groups": {"Subject": "average"}}, "new_groups must be one of"),
        ({"new_groups": {"Site": "zero"}}, "new_groups names 'Site'"),
        ({"formula": 3}, "'formula' parameter"),
        ({"random_state": "a"}, "'random_state' parameter"),
        ({"progressbar": "yes"}, "'progressbar' parameter"),
    ],
)
def test_an_invalid_constructor_value_is_refused_in_fit(option, message):
    with pytest.raises(ValueError, match=message):
        regressor(**option).fit(DATA, Y)


def with_value(frame, column, value, rows):
    return frame.assign(**{column: [value if i in rows else v for i, v in enumerate(frame[column])]})


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: (DATA.drop(columns="Days"), Y),
            FormulaError,
            r"uses 'Days', which is not a column of X \(columns: 'Reaction', 'Subject'\)",
        ),
        (lambda: (DATA.drop(columns="Subject"), Y), FormulaError, "uses 'Subject', which is not a column of X"),
        (
            lambda: (DATA.to_numpy(), Y),
            FormulaError,
            r"needs named columns, but X is an array.*pipe.set_output\(transform=\"pandas\"\)",
        ),
        (
            lambda: (with_value(DATA, "Days", np.nan, {3, 5}), Y),
            ValueError,
            r"column 'Days' has 2 missing values \(NaN\) in 180 rows",
        ),
        (
            lambda: (with_value(DATA, "Days", np.inf, {3}), Y),
            ValueError,
            r"column 'Days' has 1 infinite values \(inf\) in 180 rows",
        ),
        (
            lambda: (with_value(DATA, "Subject", None, {3}), Y),
            ValueError,
            r"'Subject' has 1 missing labels \(NaN\) in 180 rows",
        ),
        (
            lambda: (DATA, with_value(DATA, "Reaction", np.nan, {3, 4})["Reaction"]),
            ValueError,
            "y contains NaN or infinity in 2 of 180 rows",
        ),
        (
            lambda: (DATA, with_value(DATA, "Reaction", -np.inf, {3})["Reaction"]),
            ValueError,
            "y contains NaN or infinity in 1 of 180 rows",
        ),
        (lambda: (DATA, Y[:-1]), ValueError, "inconsistent numbers of rows: 180 and 179"),
        (lambda: (DATA, np.ones(180)), ValueError, r"y is constant \(1.0 in all 180 rows\)"),
        (lambda: (DATA, Y.astype(str)), ValueError, "y must be numeric"),
        (lambda: (DATA, np.column_stack([Y, Y])), ValueError, "y should be a 1d array"),
        (lambda: (DATA, None), ValueError, "requires y to be passed, but the target y is None"),
        (lambda: (DATA.assign(Subject=1), Y), FormulaError, "grouping factor 'Subject' has a single level, 1"),
        (lambda: (DATA, DATA["Subject"] / 10), FormulaError, "grouping factor 'Subject' explains y without residual"),
        (lambda: (DATA, 3.0 + 2 * DATA["Days"]), FormulaError, "fit y without error"),
    ],
)
def test_bad_data_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        regressor().fit(*make())


def test_a_column_that_others_determine_is_named_and_fitted():
    frame = DATA.assign(Hours=24 * DATA["Days"] + 7)

    with pytest.warns(UserWarning, match="'Hours' is a combination of 'Days' and the intercept"):
        est = regressor("Days + Hours + (1 | Subject)").fit(frame, Y)
    assert est.coef_.shape == (2,)


def test_without_a_formula_collinear_columns_and_perfect_fits_are_fitted():
    X = np.column_stack([DATA["Days"], 2 * DATA["Days"]])

    assert regressor(None).fit(X, Y).coef_.shape == (2,)
    with pytest.warns(UserWarning, match="fit y without error.*sigma is kept above 1e-06"):
        regressor(None).fit(X, 3 + 2 * DATA["Days"])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (DATA.assign(Subject=DATA["Subject"].astype(str)), "columns 'Subject' of X are not numeric; write a formula"),
        (DATA.assign(Subject=DATA["Subject"].astype("category")), "columns 'Subject' of X are not numeric"),
        (DATA, "X has a column 'Reaction', the name of y"),
        (with_value(DATA[["Days"]], "Days", np.nan, {1}), r"column 'Days' has 1 missing values \(NaN\)"),
    ],
)
def test_without_a_formula_unusable_columns_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        regressor(None).fit(X, Y)


def test_without_a_formula_a_group_prior_by_factor_is_refused():
    with pytest.raises(ValueError, match="group_prior names 'Subject'; the formula's grouping factors are none"):
        regressor(None, group_prior={"Subject": "lkj"}).fit(DATA[["Days"]], Y)


def test_without_a_formula_an_array_is_read_in_the_order_of_fit():
    est = regressor(None).fit(DATA[["Days"]], Y)

    with pytest.warns(UserWarning, match="does not have valid feature names"):
        np.testing.assert_array_equal(est.predict(DATA[["Days"]].to_numpy()), est.predict(DATA[["Days"]]))
    with pytest.raises(ValueError, match="feature names should match"):
        est.predict(DATA[["Days"]].rename(columns={"Days": "num__Days"}))


def test_a_response_that_rows_of_weight_zero_spoil_is_fitted():
    weights = np.where(np.arange(180) < 2, 0.0, 1.0)

    assert regressor().fit(DATA, with_value(DATA, "Reaction", np.nan, {0, 1})["Reaction"], weights).coef_.shape == (1,)
    with pytest.raises(ValueError, match="y is constant"):
        regressor().fit(DATA, np.where(weights > 0, 1.0, Y), weights)


def test_columns_may_have_any_names_if_the_formulas_are_text():
    frame = DATA.assign(**{"other": 1}).rename(columns={"other": 5})

    assert regressor().fit(frame, Y).n_features_in_ == 4


def test_showing_a_fit_does_not_assemble_the_posterior(fitted, tmp_path):
    path = tmp_path / "fit.pickle"
    path.write_bytes(pickle.dumps(fitted))
    code = (
        "import pickle, sys, pathlib\n"
        f"est = pickle.loads(pathlib.Path({str(path)!r}).read_bytes())\n"
        "html = est._repr_html_()\n"
        "assert html and 'pymc' not in sys.modules and 'arviz' not in sys.modules\n"
        "assert list(est.idata_['posterior'])"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
    assert "Days" in regressor()._repr_html_()


@pytest.mark.parametrize("use", ["predict", "predict_draws", "score", "idata_"])
def test_before_fit_there_is_nothing(use):
    est = regressor("Reaction ~ " + FORMULA)

    with pytest.raises(NotFittedError, match="is not fitted yet"):
        getattr(est, use)(DATA) if use != "idata_" else est.idata_
    assert not hasattr(est, "idata_")


def test_bad_new_data_are_refused(fitted):
    for X, message in [
        (DATA.drop(columns="Days"), "uses 'Days', which is not a column of X"),
        (DATA[["Days"]], "uses 'Subject', which is not a column of X .*pass include_groups=False"),
        (with_value(DATA, "Days", np.nan, {0}), r"column 'Days' has 1 missing values \(NaN\)"),
        (DATA.to_numpy(), "needs named columns, but X is an array"),
    ]:
        with pytest.raises(ValueError, match=message):
            fitted.predict(X)
    with pytest.raises(ValueError, match="include_groups names 'Site'"):
        fitted.predict(DATA, include_groups=["Site"])


def test_a_new_level_of_a_common_effect_names_column_level_and_known_levels():
    frame = DATA.assign(shift=np.tile(["day", "night"], 90))
    est = regressor("shift + (1 | Subject)").fit(frame, Y)

    np.testing.assert_array_equal(est.predict(frame.iloc[[1]]), est.predict(frame)[[1]])
    with pytest.raises(
        FormulaError, match=r"'shift' has levels not seen in fit: 'dusk' \(known levels: 'day', 'night'\)"
    ):
        est.predict(frame.head(1).assign(shift="dusk"))


def test_a_clash_of_names_is_refused_before_sampling():
    with pytest.raises(FormulaError, match="uses 'draw'"):
        regressor("draw + (1 | Subject)").fit(DATA.assign(draw=DATA["Days"]), Y)
    with pytest.raises(FormulaError, match="grouping factor 'sigma' would add 'sigma' to the posterior"):
        regressor("Days + (1 | sigma)").fit(DATA.assign(sigma=DATA["Subject"]), Y)


def test_negative_weights_are_refused():
    with pytest.raises(ValueError, match="Negative values"):
        regressor().fit(DATA, Y, sample_weight=-np.ones(180))


def test_priors_of_another_model_are_refused(fitted):
    with pytest.raises(PriorError, match="belong to another model"):
        regressor("Days + (1 | Subject)", priors=fitted.priors_).fit(DATA, Y)
    assert regressor(priors=fitted.priors_).fit(DATA.head(90), Y.head(90)).priors_ == fitted.priors_


def test_build_model_needs_no_fit():
    model = regressor("Reaction ~ " + FORMULA).build_model(DATA)

    assert {"Intercept", "beta", "sd_Subject", "corr_Subject", "sigma", "b_Subject", "y"} <= set(model.named_vars)
    with pytest.raises(ValueError, match="'draws' parameter"):
        regressor(draws=0).build_model(DATA, Y)
