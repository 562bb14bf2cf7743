"""The NUTS engine without sampling: which backend, how many cores, what is kept of a trace."""

import multiprocessing
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from joblib import Parallel, delayed

from bayesmixed import _compat
from bayesmixed._compat import container, run_nuts
from bayesmixed.datasets import load_sleepstudy
from bayesmixed.design.spec import DesignSpec
from bayesmixed.formula.parse import parse
from bayesmixed.posterior.posterior import Model
from bayesmixed.priors.defaults import default_priors
from bayesmixed.sampling.engine import Settings
from bayesmixed.sampling.nuts import engine as nuts
from bayesmixed.sampling.nuts.engine import resolve_cores
from helpers.made import GAUSSIAN, make_draws

DATA = load_sleepstudy()
DESIGN = DesignSpec.learn(parse("Days + (Days | Subject)"), DATA, y=DATA["Reaction"].to_numpy())[1]
MODEL = Model(None, GAUSSIAN, default_priors(DESIGN, GAUSSIAN))
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

    def sample(change=None, draws=500):
        made = make_draws(DESIGN, chains=4, draws=draws)
        made.values["z_Subject"] = np.zeros((4, draws, 18, 2))
        if change:
            change(made.sample_stats)

        def run_nuts(model, **settings):
            import xarray as xr

            asked.update(settings)
            as_dataset = lambda v: xr.Dataset(  # noqa: E731
                {k: (("chain", "draw", *(f"{k}_{i}" for i in range(a.ndim - 2))), a) for k, a in v.items()}
            )
            return container({"posterior": as_dataset(made.values), "sample_stats": as_dataset(made.sample_stats)}, {})

        monkeypatch.setattr(nuts, "run_nuts", run_nuts)
        monkeypatch.setattr(nuts, "build_model", lambda *arguments: None)
        return nuts.sample(MODEL, DESIGN, Settings("nuts", draws, **SETTINGS))

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
    assert set(draws.diagnostics["seconds"]) == {"build", "sample"}
    assert (draws.diagnostics["sampler"], draws.diagnostics["backend"]) == ("nuts", "pymc")


def test_acceptance_is_the_mean_over_all_draws(run):
    def alternate(sample_stats):
        sample_stats["acceptance_rate"][:, ::2] = 0.5

    assert run[0](alternate).diagnostics["acceptance"] == pytest.approx(0.7)


def test_nutpies_names_of_the_statistics_are_read(run):
    def rename(sample_stats):
        sample_stats["mean_tree_accept"] = sample_stats.pop("acceptance_rate")
        sample_stats["logp"] = sample_stats.pop("lp")

    assert set(run[0](rename).sample_stats) == {"lp", "acceptance_rate", "diverging"}


def test_the_backend_defaults_to_nutpie_when_installed(monkeypatch):
    monkeypatch.setattr(nuts, "is_installed", lambda package: package == "nutpie")
    assert nuts._resolve_backend(None) == "nutpie"
    with pytest.raises(ImportError, match="nuts_backend='numpyro' needs the package numpyro: pip install numpyro"):
        nuts._resolve_backend("numpyro")
    monkeypatch.setattr(nuts, "is_installed", lambda package: False)
    assert nuts._resolve_backend(None) == "pymc"


@pytest.mark.parametrize(
    "remark",
    ["Could not link", "PyTensor could not link to a BLAS installation", "np.dot() is faster on contiguous arrays"],
)
def test_remarks_on_the_speed_of_linear_algebra_do_not_reach_the_user(monkeypatch, remark):
    def sample(**settings):
        warnings.warn(f"first line\n{remark}, it says", UserWarning, stacklevel=1)

    monkeypatch.setattr(_compat, "import_pymc", lambda: SimpleNamespace(sample=sample))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        run_nuts(None, backend="nutpie", target_accept=0.9, progressbar=False)

    assert len(seen) == (remark == "Could not link")  # another remark does


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
