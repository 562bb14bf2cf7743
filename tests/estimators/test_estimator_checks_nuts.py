"""scikit-learn's checks that train, with NUTS itself; `test_estimator_checks` runs all of them with draws made by hand.

The one that needs equal numbers from two chains, of weighted and of repeated rows, is not among them: `test_slow_nuts`
compares those within Monte Carlo error.
"""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from bayesmixed import MixedModelRegressor
from bayesmixed.sampling.nuts import engine as nuts

# PyMC's sampler, as nutpie compiles every fit anew; one process, as a second takes longer to start than to sample
OPTIONS = {"nuts_backend": "pymc", "cores": 1, "draws": 30, "tune": 100, "chains": 2}
EST = MixedModelRegressor(sampler="nuts", **OPTIONS)
NAMES = {
    "check_estimators_pickle",
    "check_fit_idempotent",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
    "check_regressors_int",
    "check_regressors_train",
    "check_sample_weights_list",
    "check_supervised_y_2d",
}
CHECKS = [check for _, check in estimator_checks_generator(EST) if check.func.__name__ in NAMES]


def name_of(check):
    return "-".join([check.func.__name__, *map(str, check.keywords.values())])


@pytest.fixture
def runs(monkeypatch):
    """Settings of every run of NUTS."""
    settings = []
    run_nuts = nuts.run_nuts

    def run(model, **options):
        settings.append(options)
        return run_nuts(model, **options)

    monkeypatch.setattr(nuts, "run_nuts", run)
    return settings


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")  # so short a run has not converged
@pytest.mark.parametrize("check", CHECKS, ids=name_of)
def test_a_check_passes_with_nuts_itself(check, runs):
    check(EST)

    assert {(run["backend"], run["draws"], run["tune"], run["chains"]) for run in runs} == {("pymc", 30, 100, 2)}


def test_the_checks_that_train_are_all_there():
    """So that a green run cannot hide a check that no longer exists."""
    assert len(CHECKS) >= 14  # some come in variants
    assert {check.func.__name__ for check in CHECKS} == NAMES
