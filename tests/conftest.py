"""Fixtures shared by the tests: small data, a sampler that costs nothing."""

import os
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

from bayesmixed.estimators import base
from bayesmixed.sampling.nuts import engine
from helpers.made import make_draws

# The same examples in every run; `--hypothesis-profile=search` looks for others, and longer.
QUIET = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}  # a machine may be slow
settings.register_profile("repeat", derandomize=True, **QUIET)
settings.register_profile("search", max_examples=2000, **QUIET)
settings.load_profile("repeat")
if "PYTEST_XDIST_WORKER" in os.environ:  # one process per processor: more BLAS threads would only compete
    threadpool_limits(1, user_api="blas")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of processes that tests start: last digits may depend on it
DIFFERENT = {"pymc", "arviz", "nutpie"}  # of which the stacks have other versions
LONGEST = ("test_readme", "test_parallel", "test_coverage", "test_slow_nuts")


def pytest_collection_modifyitems(items):
    """Start with what takes longest, so that in the end no worker waits for another."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture(autouse=True)
def numerical_tests_are_of_every_stack(request):
    """What runs on one Python alone loads nothing whose versions differ between the stacks."""
    before = DIFFERENT & sys.modules.keys()
    yield
    if request.node.get_closest_marker("numerical"):
        assert DIFFERENT & sys.modules.keys() == before


@pytest.fixture
def school():
    """Pupils nested in schools, two numeric columns and a category."""
    rng = np.random.default_rng(1)
    n = 60
    return pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "z": rng.uniform(0.1, 3, size=n),
            "k": rng.choice(["a", "b", "c"], n),
            "school": np.repeat(["east", "north", "south"], 20),
            "pupil": np.tile(np.repeat(np.arange(5), 4), 3),
            "item": np.tile(np.arange(4), 15),
        }
    )


@pytest.fixture
def fake_sampler(monkeypatch):
    """Replace the samplers by draws scattered about the least-squares fit, reproducible under the seed."""

    def sample(model, design, settings):
        made = make_draws(design, chains=settings.chains, draws=settings.draws, seed=settings.seed)
        made.diagnostics["reason"] = f"sampler={settings.sampler!r}"
        columns = [np.ones((design.n_rows, 1))] if design.has_intercept else []
        columns = np.hstack([*columns, design.X])
        fit = np.linalg.lstsq(columns, design.response, rcond=None)[0]
        if design.has_intercept:
            made.values["Intercept"] += fit[0]
        if design.common_names:
            made.values["beta"] += fit[int(design.has_intercept) :]
        return made

    monkeypatch.setattr(base, "sample", sample)


@pytest.fixture
def fake_nuts(monkeypatch):
    """Replace NUTS by draws made by hand; returns the settings of every call."""
    calls = []

    def sample(model, design, settings):
        calls.append({name: value for name, value in vars(settings).items() if name != "sampler"})
        own = model.family
        made = make_draws(design, chains=settings.chains, draws=settings.draws, seed=settings.seed, family=own)
        made.diagnostics["sampler"] = "nuts"
        return made

    monkeypatch.setattr(engine, "sample", sample)
    return calls
