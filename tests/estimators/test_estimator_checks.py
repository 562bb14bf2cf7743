"""scikit-learn's own checks of an estimator: without a formula, by either sampler, and with one that has groups."""

import os
import subprocess
import sys
from unittest import SkipTest

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.fixes import parse_version
from sklearn.utils.validation import check_is_fitted, validate_data

from bayesmixed import MixedModelClassifier, MixedModelRegressor
from bayesmixed.sampling.nuts import engine as nuts
from helpers.made import make_draws

# two checks have a response that is a linear function of X; the warning is what a user should see
pytestmark = pytest.mark.filterwarnings("ignore:the common effects .* fit y without error:UserWarning")


class Grouped(BaseEstimator):
    """A formula with groups for the arrays of the checks, which have neither column names nor groups.

    The row at position i of a fit is in group i modulo 5. Predictions must not depend on which rows are asked for, nor
    on their order, so a group belongs to its row: `fit` remembers which group each row got. A row that it has not seen
    has a missing label, and is a new group of its own.
    """

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y=None, sample_weight=None):
        X = self._read(X, reset=True)
        groups = [f"g{i % 5}" for i in range(len(X))]
        self._groups = {row.tobytes(): group for row, group in zip(X, groups, strict=True)}
        self._fitted = self._make(X.shape[1]).fit(frame_of(X, groups), y, sample_weight)
        return self

    def predict(self, X):
        frame = self._frame(X)
        return self._fitted.predict(frame)

    def _frame(self, X):
        check_is_fitted(self, "_fitted")
        X = self._read(X, reset=False)
        return frame_of(X, [self._groups.get(row.tobytes()) for row in X])

    def _read(self, X, reset):  # missing and infinite values are left for the estimator to refuse
        return validate_data(self, X, reset=reset, dtype=np.float64, order="C", ensure_all_finite=False)


class GroupedRegressor(RegressorMixin, Grouped):
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # of the ten columns that explain y in a check, the formula reads one
        return tags

    def _make(self, n_columns):
        return MixedModelRegressor("x0 + (1 | g)", sampler="collapsed", random_state=self.random_state)


class GroupedClassifier(ClassifierMixin, Grouped):
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def fit(self, X, y=None, sample_weight=None):
        super().fit(X, y, sample_weight)
        self.classes_ = self._fitted.classes_
        return self

    def predict_proba(self, X):
        frame = self._frame(X)
        return self._fitted.predict_proba(frame)

    def predict_log_proba(self, X):
        frame = self._frame(X)
        return self._fitted.predict_log_proba(frame)

    def decision_function(self, X):
        frame = self._frame(X)
        return self._fitted.decision_function(frame)

    def _make(self, n_columns):
        every = " + ".join(f"x{i}" for i in range(n_columns))
        return MixedModelClassifier(f"{every} + (1 | g)", draws=50, random_state=self.random_state)


def frame_of(X, groups):
    return pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])]).assign(g=groups)


# some checks set no seed, and would take NumPy's, which depends on what has run before
ESTIMATORS = {
    "collapsed": MixedModelRegressor(),
    "nuts": MixedModelRegressor(sampler="nuts", random_state=0),
    "groups": GroupedRegressor(random_state=0),
}
CLASSIFIERS = {
    "classes": MixedModelClassifier(draws=50, random_state=0),
    "classes, groups": GroupedClassifier(random_state=0),
}
# checks that "groups" cannot pass: why, and what they end with
EXCEPTED = {
    "check_sample_weight_equivalence_on_dense_data": (
        "groups go by position, so a row that is repeated instead of weighted would be in several groups",
        "fitting with `sample_weight` is not equivalent",
    ),
    "check_regressors_no_decision_function": (
        "y is a column of X, and with a formula a perfect fit is refused",
        "the common effects 'x0' fit y without error",
    ),
}

# and what "nuts" cannot: partial_fit keeps sums over rows, of which NUTS can sample nothing
BY_NUTS = {
    "check_fit_score_takes_y": ("partial_fit needs a fit that has kept sums", "partial_fit adds to sums over rows"),
    "check_n_features_in_after_fitting": ("partial_fit refuses the sampler", "partial_fit keeps only sums over rows"),
    "check_estimators_partial_fit_n_features": (
        "partial_fit refuses the sampler",
        "partial_fit keeps only sums over rows",
    ),
}


# of these the classifier with groups cannot pass
GROUPED_CLASSES = ("check_sample_weight_equivalence_on_dense_data",)


def excepted(estimator):
    """Checks that may fail and why, as scikit-learn wants to hear it."""
    if isinstance(estimator, Grouped):
        return {name: why for name, (why, _) in EXCEPTED.items()}
    return {name: why for name, (why, _) in BY_NUTS.items()} if estimator.sampler == "nuts" else {}


@pytest.fixture(autouse=True)
def nuts_seeds(monkeypatch):
    """Replace NUTS by draws that depend on the seed and on the sufficient statistics alone; returns its seeds."""
    seeds = []

    def sample(model, design, settings):
        seeds.append(settings.seed)
        made = make_draws(design, chains=settings.chains, draws=settings.draws, seed=settings.seed)
        made.diagnostics["sampler"] = "nuts"
        columns = np.column_stack([np.ones(design.n_rows), design.X])
        weighted = columns if design.weights is None else columns * design.weights[:, None]
        precision = weighted.T @ columns + 0.01 * np.eye(columns.shape[1])  # there may be more columns than rows
        mean = np.linalg.solve(precision, weighted.T @ design.response)
        made.values["Intercept"] = mean[0] + 0.01 * made.values["Intercept"]
        made.values["beta"] = mean[1:] + 0.01 * made.values["beta"]
        return made

    monkeypatch.setattr(nuts, "sample", sample)
    return seeds


@parametrize_with_checks(list(ESTIMATORS.values()), expected_failed_checks=excepted)
def test_a_check_passes(estimator, check):
    try:
        check(estimator)
    except SkipTest:
        assert check.func.__name__ == "check_array_api_input"  # the last test runs it, with SciPy's option set
        assert "SCIPY_ARRAY_API" not in os.environ


@pytest.mark.parametrize(("name", "at_least"), [("collapsed", 58), ("nuts", 55), ("groups", 56)])
def test_as_many_checks_run_and_pass_as_are_known(name, at_least, nuts_seeds):
    """So that a green run cannot hide checks that were skipped, no longer exist, or fail for another reason."""
    may_fail = excepted(ESTIMATORS[name])
    results = check_estimator(ESTIMATORS[name], expected_failed_checks=may_fail, on_skip=None, on_fail=None)
    others = {(r["status"], r["check_name"]): str(r["exception"]) for r in results if r["status"] != "passed"}
    others.pop(("skipped", "check_array_api_input"), None)  # needs an option of SciPy's, set before it is imported

    assert sum(r["status"] == "passed" for r in results) >= at_least
    assert set(others) == {("xfail", check) for check in may_fail}
    assert all((EXCEPTED | BY_NUTS)[check][1] in message for (_, check), message in others.items())
    assert (len(nuts_seeds) > 40) == (name == "nuts")


@pytest.mark.numerical  # hundreds of fits
@pytest.mark.filterwarnings("ignore:the common effects .* separate successes from failures:UserWarning")  # they do
@pytest.mark.filterwarnings("ignore:some columns are not identified by the data:UserWarning")  # 30 columns of 15 rows
@pytest.mark.parametrize(("name", "may_fail"), [("classes", ()), ("classes, groups", GROUPED_CLASSES)])
def test_a_classifier_passes_all_checks_but_those_that_are_named(name, may_fail):
    results = check_estimator(
        CLASSIFIERS[name], expected_failed_checks={check: EXCEPTED[check][0] for check in may_fail}, on_skip=None
    )
    others = {(r["status"], r["check_name"]): str(r["exception"]) for r in results if r["status"] != "passed"}
    others.pop(("skipped", "check_array_api_input"), None)

    assert sum(r["status"] == "passed" for r in results) >= 62 - len(may_fail)
    assert set(others) == {("xfail", check) for check in may_fail}
    assert all((EXCEPTED | BY_NUTS)[check][1] in message for (_, check), message in others.items())


@pytest.mark.skipif(parse_version(sklearn.__version__) < parse_version("1.9"), reason="1.8 has no such check")
def test_the_check_that_is_skipped_passes_where_scipys_option_is_set():
    """In a process of its own: SciPy reads the option when it is imported."""
    select = "test_a_check_passes and check_array_api_input"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", select]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"SCIPY_ARRAY_API": "1"}
    )

    assert f"{len(ESTIMATORS)} passed" in run.stdout, run.stdout
