"""Fixtures shared by the tests: small data, a sampler that costs nothing."""

import numpy as np
import pandas as pd
import pytest

from bayesmixed.estimators import base
from bayesmixed.sampling.nuts import engine
from helpers.made import make_draws


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
        own = model.family.auxiliary
        made = make_draws(design, chains=settings.chains, draws=settings.draws, seed=settings.seed, auxiliary=own)
        made.diagnostics["sampler"] = "nuts"
        return made

    monkeypatch.setattr(engine, "sample", sample)
    return calls
