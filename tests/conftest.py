"""Fixtures shared by the tests: small data, hand-made draws, a sampler that costs nothing."""

import numpy as np
import pandas as pd
import pytest

from bayesmixed.design.spec import DesignSpec
from bayesmixed.estimators import base
from bayesmixed.families import get_family
from bayesmixed.formula.parse import parse
from bayesmixed.posterior.draws import Draws, layout
from bayesmixed.posterior.posterior import Posterior
from bayesmixed.sampling.nuts import engine

GAUSSIAN = get_family("gaussian")


def make_draws(design, *, chains=2, draws=50, seed=0):
    """Draws of the right names and shapes, with a valid correlation matrix in every draw."""
    rng = np.random.default_rng(seed)
    sizes = {"common_effect": len(design.common_names)}
    for factor in design.groups:
        sizes |= {factor.name: len(factor.levels), f"{factor.name}_effect": len(factor.effect_names)}
        sizes[f"{factor.name}_pair"] = len(factor.pairs)
    values = {}
    for name, dims in layout(design, ("sigma",)).items():
        shape = (chains, draws, *(sizes[dim] for dim in dims))
        values[name] = rng.normal(size=shape)
        if name == "sigma" or name.startswith("sd_"):
            values[name] = np.abs(values[name]) + 0.1
    for factor in design.groups:
        if factor.pairs:
            values[f"corr_{factor.name}"] = random_correlations(rng, (chains, draws), factor)
    stats = {"diverging": np.zeros((chains, draws), bool), "lp": rng.normal(size=(chains, draws))}
    stats["acceptance_rate"] = np.full((chains, draws), 0.9)
    return Draws(values, stats, {"sampler": "made by hand"})


def random_correlations(rng, shape, factor):
    """One correlation per pair, from random Gram matrices."""
    q = len(factor.effect_names)
    root = rng.normal(size=(*shape, q, q))
    gram = root @ np.swapaxes(root, -1, -2)
    sd = np.sqrt(np.diagonal(gram, axis1=-2, axis2=-1))
    R = gram / (sd[..., :, None] * sd[..., None, :])
    return np.stack([R[..., i, j] for i, j in factor.pairs], axis=-1)


def make_posterior(formula, frame, seed=0, **options):
    """A `Posterior` on hand-made draws, and the training design."""
    spec, design = DesignSpec.learn(parse(formula), frame, **options)
    return Posterior(make_draws(design, seed=seed), spec, GAUSSIAN, seed=7), design


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

    def sample(design, family, priors, settings):
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

    def sample(design, family, priors, settings):
        calls.append({name: value for name, value in vars(settings).items() if name != "sampler"})
        made = make_draws(design, chains=settings.chains, draws=settings.draws, seed=settings.seed)
        made.diagnostics["sampler"] = "nuts"
        return made

    monkeypatch.setattr(engine, "sample", sample)
    return calls
