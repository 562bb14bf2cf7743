"""The estimator as a part of scikit-learn's constructions."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import AdaBoostRegressor, BaggingRegressor, StackingRegressor, VotingRegressor
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut, cross_val_score, cross_validate
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from bayesmixed import FormulaError, HalfNormal, MixedModelRegressor, Normal
from bayesmixed.datasets import load_sleepstudy

DATA = load_sleepstudy()
X, Y = DATA[["Days", "Subject"]], DATA["Reaction"]
FORMULA = "Days + (Days | Subject)"


def make(formula=FORMULA, **options):
    return MixedModelRegressor(formula, draws=500, random_state=0, **options)


def standardised(**options):
    """Days in standard deviations, Subject as it is."""
    columns = ColumnTransformer(
        [("num", StandardScaler(), ["Days"])], remainder="passthrough", verbose_feature_names_out=False
    )
    return make_pipeline(columns, make(**options)).set_output(transform="pandas")


def test_a_pipeline_predicts_what_the_estimator_does_on_its_frame():
    pipe = standardised().fit(X, Y)
    scaled = pipe[0].transform(X)

    np.testing.assert_array_equal(pipe.predict(X), make().fit(scaled, Y).predict(scaled))
    assert pipe.score(X, Y) > 0.8


def test_an_array_in_a_pipeline_is_refused_with_the_cure():
    pipe = make_pipeline(FunctionTransformer(lambda frame: frame.to_numpy()), make())

    with pytest.raises(FormulaError, match=r'call pipe.set_output\(transform="pandas"\)'):
        pipe.fit(X, Y)


def test_a_renamed_column_in_a_pipeline_is_refused_with_the_columns_that_came():
    columns = ColumnTransformer([("num", StandardScaler(), ["Days"])], remainder="passthrough")
    pipe = make_pipeline(columns, make()).set_output(transform="pandas")

    with pytest.raises(
        FormulaError, match=r"uses .*'Days'.* which is not a column of X .*'num__Days'.*verbose_feature_names_out=False"
    ):
        pipe.fit(X, Y)


@pytest.mark.parametrize("folds", [GroupKFold(3), LeaveOneGroupOut()])
def test_groups_of_every_fold_may_be_new(folds):
    some = DATA["Subject"].isin(DATA["Subject"].unique()[:5])
    scores = cross_val_score(make(), X[some], Y[some], groups=DATA["Subject"][some], cv=folds)

    assert np.isfinite(scores).all()


def test_cross_validation_returns_estimators_that_know_their_folds():
    found = cross_validate(make(), X, Y, cv=3, return_estimator=True)

    assert [len(est.design_spec_.groups[0].levels) for est in found["estimator"]] == [12, 12, 12]


def test_a_search_over_formulas_and_priors_fits_each_candidate():
    grid = [
        {"group_prior": ["lkj", "independent"], "lkj_eta": [1.0, 4.0]},
        {"formula": ["Days + (1 | Subject)"]},
        {"priors": [{"Days": Normal(0, 1)}, {"sd_Subject": HalfNormal(5)}]},
    ]
    search = GridSearchCV(make(), grid, cv=3).fit(X, Y)

    assert len(search.cv_results_["params"]) == 7
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.predict(X).shape == (180,)


def test_two_jobs_find_what_one_does():
    one, two = (cross_val_score(make(), X, Y, cv=3, n_jobs=jobs) for jobs in (1, 2))

    np.testing.assert_array_equal(one, two)


def test_a_transformed_target_is_predicted_on_its_own_scale():
    est = TransformedTargetRegressor(make(), func=np.log, inverse_func=np.exp, check_inverse=False).fit(X, Y)

    assert 200 < est.predict(X).min() < est.predict(X).max() < 500
    assert est.score(X, Y) > 0.8


def test_importance_and_partial_dependence_see_the_slope():
    est = make().fit(X, Y)
    importance = permutation_importance(est, X, Y, n_repeats=3, random_state=0)["importances_mean"]
    dependence = partial_dependence(est, X.astype({"Days": float}), ["Days"], grid_resolution=5)["average"][0]

    assert (importance > 0.1).all()
    assert (np.diff(dependence) > 0).all()


def test_a_clone_has_the_parameters_as_they_were_given_and_nothing_else():
    priors, eta = {"Days": Normal(0, 20), "sd_Subject": {"Days": HalfNormal(5)}}, {"Subject": 3.0}
    before = {"Days": Normal(0, 20), "sd_Subject": {"Days": HalfNormal(5)}}
    est = make(priors=priors, lkj_eta=eta).fit(X, Y)
    copied = clone(est)

    assert est.priors is priors
    assert est.lkj_eta is eta
    assert priors == before
    assert eta == {"Subject": 3.0}
    assert copied.get_params() == est.get_params()
    assert not hasattr(copied, "design_spec_")
    np.testing.assert_array_equal(copied.fit(X, Y).predict(X), est.predict(X))


def test_a_frame_may_have_other_columns_and_another_order():
    est = make().fit(X, Y)
    other = pd.DataFrame({"Note": "x", "Subject": X["Subject"], "Days": X["Days"]})

    np.testing.assert_array_equal(est.predict(other), est.predict(X))


# ---- estimators that hand arrays on


def named(columns=("Days", "Subject"), est=None):
    """What the message advises: names in front of the estimator."""
    return make_pipeline(FunctionTransformer(pd.DataFrame, kw_args={"columns": list(columns)}), est or make())


META = {
    "bagging": lambda est: BaggingRegressor(est, n_estimators=2, random_state=0),
    "bagging of some rows": lambda est: BaggingRegressor(est, n_estimators=2, max_samples=0.5, random_state=0),
    "AdaBoost": lambda est: AdaBoostRegressor(est, n_estimators=2, random_state=0),
}


@pytest.mark.parametrize("meta", META.values(), ids=META)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_inside_an_estimator_that_hands_arrays_on_the_advice_works(meta):
    with pytest.raises(FormulaError, match=r"X is an array.*FunctionTransformer\(pd.DataFrame, kw_args=\{'columns': "):
        meta(make()).fit(X, Y)
    fitted = meta(named()).fit(X, Y)

    assert fitted.predict(X).shape == (180,)
    assert fitted.score(X, Y) > 0.5


def test_set_output_does_not_help_there():
    pipe = make_pipeline(StandardScaler(), make("Days")).set_output(transform="pandas")

    with pytest.raises(FormulaError):
        BaggingRegressor(pipe, n_estimators=2).fit(X[["Days"]], Y)


@pytest.mark.parametrize("passthrough", [False, True])
def test_a_final_estimator_of_a_stack_takes_the_columns_by_position_or_by_name(passthrough):
    first = [("line", LinearRegression()), ("mean", DummyRegressor())]
    with pytest.raises(FormulaError, match=r"final_estimator of a StackingRegressor"):
        StackingRegressor(first, make("line + mean"), passthrough=passthrough).fit(X, Y)

    columns = ["line", "mean", *(["Days", "Subject"] if passthrough else [])]
    formula = "line + (Days | Subject)" if passthrough else "line"
    by_name = StackingRegressor(first, named(columns, make(formula)), passthrough=passthrough).fit(X, Y)
    assert by_name.predict(X).shape == (180,)
    if not passthrough:
        by_position = StackingRegressor(first[:1], make(None)).fit(X, Y)
        np.testing.assert_allclose(by_position.predict(X), by_name.predict(X), rtol=1e-2)


def test_in_a_pipeline_the_advice_works():
    pipe = make_pipeline(StandardScaler(), make("Days"))
    with pytest.raises(FormulaError, match=r'call pipe.set_output\(transform="pandas"\)'):
        pipe.fit(X[["Days"]], Y)

    by_output = pipe.set_output(transform="pandas").fit(X[["Days"]], Y)
    by_name = make_pipeline(StandardScaler(), named(["Days"], make("Days"))).fit(X[["Days"]], Y)
    np.testing.assert_array_equal(by_output.predict(X[["Days"]]), by_name.predict(X[["Days"]]))
    assert clone(by_name).get_params()["pipeline__functiontransformer__kw_args"] == {"columns": ["Days"]}


def test_estimators_that_hand_frames_on_need_no_advice():
    fitted = VotingRegressor([("a", make()), ("b", make("Days"))]).fit(X, Y)

    assert fitted.predict(X).shape == (180,)
    assert MultiOutputRegressor(make("Days")).fit(X, np.column_stack([Y, Y])).predict(X).shape == (180, 2)
