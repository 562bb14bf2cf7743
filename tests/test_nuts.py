"""The NUTS engine without sampling: which backend, how many cores, which warnings."""

import multiprocessing
import warnings

import numpy as np
import pytest
from conftest import GAUSSIAN, make_draws
from joblib import Parallel, delayed

from bayesmixed import ConvergenceWarning
from bayesmixed._compat import container
from bayesmixed.datasets import load_sleepstudy
from bayesmixed.design import DesignSpec
from bayesmixed.formula import parse
from bayesmixed.priors import default_priors
from bayesmixed.sampling import nuts
from bayesmixed.sampling.nuts import resolve_cores

DATA = load_sleepstudy()
DESIGN = DesignSpec.learn(parse("Days + (Days | Subject)"), DATA, y=DATA["Reaction"].to_numpy())[1]
SETTINGS = {
    "chains": 4,
    "tune": 7,
    "target_accept": 0.9,
    "cores": 3,
    "backend": "pymc",
    "seed": 5,
    "progressbar": False,
}


@pytest.fixture
def run(monkeypatch):
    """``nuts.sample`` on a trace made by hand; returns what NUTS was asked for, too."""
    asked = {}

    def sample(change=None, draws=500, divergences=0):
        made = make_draws(DESIGN, chains=4, draws=draws)
        made.values["z_Subject"] = np.zeros((4, draws, 18, 2))
        made.sample_stats["diverging"][0, :divergences] = True
        if change:
            change(made.values)

        def run_nuts(model, **settings):
            import xarray as xr

            asked.update(settings)
            as_dataset = lambda v: xr.Dataset(  # noqa: E731
                {k: (("chain", "draw", *(f"{k}_{i}" for i in range(a.ndim - 2))), a) for k, a in v.items()}
            )
            return container({"posterior": as_dataset(made.values), "sample_stats": as_dataset(made.sample_stats)}, {})

        monkeypatch.setattr(nuts, "run_nuts", run_nuts)
        monkeypatch.setattr(nuts, "build_model", lambda *arguments: None)
        return nuts.sample(DESIGN, GAUSSIAN, default_priors(DESIGN, GAUSSIAN), draws=draws, **SETTINGS)

    return sample, asked


def test_settings_are_passed_on(run):
    sample, asked = run
    draws = sample()

    assert asked == {
        "backend": "pymc",
        "target_accept": 0.9,
        "draws": 500,
        "tune": 7,
        "chains": 4,
        "cores": 3,
        "random_seed": 5,
        "progressbar": False,
    }
    assert list(draws.values) == ["Intercept", "beta", "b_Subject", "sd_Subject", "corr_Subject", "sigma"]
    assert set(draws.sample_stats) == {"lp", "acceptance_rate", "diverging"}
    assert draws.diagnostics["divergences"] == 0
    assert draws.diagnostics["max_r_hat"] < 1.01
    assert set(draws.diagnostics["seconds"]) == {"build", "sample", "diagnose"}


def test_divergences_are_warned_of_with_causes_and_remedies(run):
    message = r"37 of 2000 draws diverged\. Usual causes: .*near zero.*Remedies: raise target_accept \(now 0.9\)"
    with pytest.warns(ConvergenceWarning, match=message):
        run[0](divergences=37)


def test_chains_that_disagree_are_warned_of(run):
    def shift(values):
        values["beta"] += np.arange(4)[:, None, None]

    with pytest.warns(ConvergenceWarning, match=r"R-hat of 'beta' is [0-9.]+ \(should be below 1.01\)"):
        run[0](shift)


def test_slow_mixing_is_warned_of(run):
    def slow(values):
        values["sigma"] = np.repeat(values["sigma"][:, ::10], 10, axis=1)

    with pytest.warns(ConvergenceWarning, match=r"effective sample size of 'sigma' is \d+ \(should be above 400\)"):
        run[0](slow)


def test_few_draws_lower_the_limit_of_the_effective_sample_size(run):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run[0](draws=100)

    assert not [w for w in caught if "effective sample size" in str(w.message)]


def test_a_stuck_or_broken_parameter_does_not_hide_the_others(run):
    def break_some(values):
        values["sd_Subject"][..., 0] = 3.0
        values["b_Subject"][0, 0, 0, 0] = np.nan
        values["sd_Subject"][..., 1] += 5 * np.arange(4)[:, None]

    with pytest.warns(
        ConvergenceWarning, match=r"R-hat of 'sd_Subject' is [\d.]+.*R-hat of 'b_Subject', 'sd_Subject' is undefined"
    ):
        draws = run[0](break_some)
    assert draws.diagnostics["max_r_hat"] > 1.5
    assert draws.diagnostics["acceptance"] == pytest.approx(0.9)


def test_the_backend_defaults_to_nutpie_when_installed(monkeypatch):
    monkeypatch.setattr(nuts, "is_installed", lambda package: package == "nutpie")
    assert nuts._resolve_backend(None) == "nutpie"
    with pytest.raises(ImportError, match="nuts_backend='numpyro' needs the package numpyro: pip install numpyro"):
        nuts._resolve_backend("numpyro")
    monkeypatch.setattr(nuts, "is_installed", lambda package: False)
    assert nuts._resolve_backend(None) == "pymc"


def test_cores_at_the_top_level():
    assert resolve_cores(3, 4) == 3
    assert resolve_cores(8, 4) == 4
    assert 1 <= resolve_cores(None, 4) <= 4


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_cores_are_one_inside_a_joblib_worker(backend):
    inside = Parallel(n_jobs=2, backend=backend)(delayed(resolve_cores)(cores, 4) for cores in (None, 3))

    assert inside == [1, 1]


def test_cores_are_one_in_a_daemon():
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        assert pool.apply(resolve_cores, (4, 4)) == 1
