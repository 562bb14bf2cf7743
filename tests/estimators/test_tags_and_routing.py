"""What the estimator says of itself to scikit-learn, and that sample weights arrive where they are asked for."""

import numpy as np
import pytest
import sklearn
from sklearn.base import is_regressor
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags

from bayesmixed import MixedModelRegressor
from bayesmixed.datasets import load_sleepstudy

DATA = load_sleepstudy()
X, Y, GROUPS = DATA[["Days", "Subject"]], DATA["Reaction"], DATA["Subject"]
FORMULA = "Days + (1 | Subject)"
WEIGHTS = np.random.default_rng(0).integers(0, 5, len(DATA)).astype(float)
FOLDS = GroupKFold(3)


def make(formula=FORMULA):
    return MixedModelRegressor(formula, draws=250, random_state=0)


@pytest.mark.parametrize("formula", [None, FORMULA])
def test_it_is_a_regressor_of_one_response_that_refuses_nan_and_sparse_matrices(formula):
    est = make(formula)
    tags = get_tags(est)

    assert is_regressor(est)
    assert not tags.regressor_tags.poor_score
    assert tags.requires_fit
    assert (tags.target_tags.single_output, tags.target_tags.multi_output) == (True, False)
    assert (tags.input_tags.allow_nan, tags.input_tags.sparse) == (False, False)
    assert not tags.non_deterministic


@pytest.mark.parametrize("formula", [None, FORMULA])
def test_text_and_categories_are_read_by_a_formula_alone_and_arrays_without_one(formula):
    tags = get_tags(make(formula)).input_tags

    assert (tags.string, tags.categorical) == ((False, False) if formula is None else (True, True))
    assert tags.two_d_array == (formula is None)


@pytest.mark.parametrize(
    ("formula", "required"),
    [
        (None, True),
        (FORMULA, True),
        (f"~ {FORMULA}", True),
        ("`a~b` + Days", True),
        (f"Reaction ~ {FORMULA}", False),
    ],
)
def test_y_is_required_unless_the_formula_names_it(formula, required):
    assert get_tags(make(formula)).target_tags.required is required


@pytest.mark.parametrize("formula", ["Reaction ~ Days + (", "log(Reaction) ~ Days", 3])
def test_a_formula_that_cannot_be_read_has_tags_as_scikit_learn_asks_for_them_before_fit(formula):
    assert is_regressor(make(formula))
    assert get_tags(make(formula)).target_tags.required


def test_where_the_formula_names_y_cross_validation_needs_none():
    est = make(f"Reaction ~ {FORMULA}")

    np.testing.assert_array_equal(cross_val_score(est, DATA, cv=3), cross_val_score(make(), X, Y, cv=3))


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def weighted(formula=FORMULA):
    """Asks for weights in both."""
    return make(formula).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)


def by_hand(formula=FORMULA, fit_weighted=True, score_weighted=True):
    """R² of every fold, from fits outside of scikit-learn."""
    scores = []
    for train, test in FOLDS.split(X, Y, GROUPS):
        est = make(formula).fit(X.iloc[train], Y.iloc[train], WEIGHTS[train] if fit_weighted else None)
        predicted = est.predict(X.iloc[test])
        scores.append(r2_score(Y.iloc[test], predicted, sample_weight=WEIGHTS[test] if score_weighted else None))
    return scores


@pytest.mark.parametrize(("fit", "score"), [(True, True), (True, False), (False, True)])
def test_in_cross_validation_weights_arrive_where_they_are_requested(routing, fit, score):
    est = make().set_fit_request(sample_weight=fit).set_score_request(sample_weight=score)
    found = cross_validate(est, X, Y, cv=FOLDS, params={"sample_weight": WEIGHTS, "groups": GROUPS})

    np.testing.assert_allclose(found["test_score"], by_hand(fit_weighted=fit, score_weighted=score), rtol=1e-12)
    if not (fit and score):
        assert np.abs(found["test_score"] - by_hand()).min() > 1e-4, "the weights matter"


def test_in_a_pipeline_weights_reach_fit_and_score(routing):
    pipe = make_pipeline(FunctionTransformer(), weighted())
    found = cross_validate(pipe, X, Y, cv=FOLDS, params={"sample_weight": WEIGHTS, "groups": GROUPS})

    np.testing.assert_allclose(found["test_score"], by_hand(), rtol=1e-12)
    np.testing.assert_array_equal(
        pipe.fit(X, Y, sample_weight=WEIGHTS).predict(X), make().fit(X, Y, WEIGHTS).predict(X)
    )


def test_in_a_search_over_a_pipeline_weights_reach_every_candidate_and_the_last_fit(routing):
    formulas = ["1 + (1 | Subject)", FORMULA]
    grid = {"mixedmodelregressor__formula": formulas}
    search = GridSearchCV(make_pipeline(FunctionTransformer(), weighted()), grid, cv=FOLDS)
    search.fit(X, Y, sample_weight=WEIGHTS, groups=GROUPS)
    found = [[search.cv_results_[f"split{i}_test_score"][k] for i in range(3)] for k in range(2)]

    np.testing.assert_allclose(found, [by_hand(formula) for formula in formulas], rtol=1e-12)
    np.testing.assert_array_equal(search.predict(X), make().fit(X, Y, WEIGHTS).predict(X))
    assert search.score(X, Y, sample_weight=WEIGHTS) == make().fit(X, Y, WEIGHTS).score(X, Y, WEIGHTS)


@pytest.mark.parametrize(
    ("ask", "method"),
    [
        (lambda est: est, "fit"),
        (lambda est: est.set_fit_request(sample_weight=True), "score"),
        (lambda est: est.set_score_request(sample_weight=True), "fit"),
    ],
)
def test_weights_that_nobody_has_requested_are_refused(routing, ask, method):
    message = rf"\[sample_weight\] are passed but are not explicitly set .* for MixedModelRegressor\.{method}"

    with pytest.raises(UnsetMetadataPassedError, match=message):
        cross_validate(ask(make()), X, Y, cv=FOLDS, params={"sample_weight": WEIGHTS, "groups": GROUPS})
    pipe = make_pipeline(FunctionTransformer(), ask(make()))
    with pytest.raises(UnsetMetadataPassedError, match=message):
        pipe.fit(X, Y, sample_weight=WEIGHTS).score(X, Y, sample_weight=WEIGHTS)
