"""Predictive intervals are honest: parameters come from the prior, so intervals hold their nominal share, exactly.

A small version of ``benchmarks/interval_coverage.py``, which says more. Each replication counts once: one row per kind.
"""

import warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from bayesmixed import ConvergenceWarning, HalfNormal, HalfStudentT, MixedModelRegressor, Normal

pytestmark = pytest.mark.numerical

REPLICATIONS, GROUPS, LEARNED = 80, 8, 3
PRIORS = {"Intercept": Normal(1, 2), "beta": Normal(0.5, 1), "sd_g": HalfNormal(1), "sigma": HalfStudentT(5, 1)}
ETA = 1.0  # a correlation is uniform in (-1, 1)
LEVELS = [0.5, 0.9]
ENDS = [*((1 - level) / 2 for level in LEVELS), *((1 + level) / 2 for level in LEVELS)]
CASES = {  # group of the target row, and what is told to the fit
    "known group": (0, None, "sample"),
    "new group": (GROUPS, None, "sample"),
    "new group, three rows learned": (GROUPS, "learned", "sample"),
    "new group taken for the average one": (GROUPS, None, "zero"),
}


def simulate(rng):
    """Rows of 8 groups to fit, three rows of a new one to learn, one target row of group 0 and one of the new."""
    rows = {"fit": np.repeat(np.arange(GROUPS), 6), "learned": [GROUPS] * LEARNED, "target": [0, GROUPS]}
    part = np.repeat(list(rows), [len(g) for g in rows.values()])
    g, x = np.concatenate(list(rows.values())), rng.normal(size=len(part))
    intercept, slope, sd = rng.normal(1, 2), rng.normal(0.5, 1), np.abs(rng.normal(size=2))
    sigma, rho = abs(rng.standard_t(5)), rng.uniform(-1, 1)
    b = rng.normal(size=(GROUPS + 1, 2)) @ [[sd[0], rho * sd[1]], [0, np.sqrt(1 - rho**2) * sd[1]]]
    mean = intercept + b[g, 0] + (slope + b[g, 1]) * x
    frame = pd.DataFrame({"g": g, "x": x, "mean": mean, "y": mean + sigma * rng.normal(size=len(x))})
    return dict(list(frame.groupby(part)))


def replicate(seed, warned):
    """Whether the intervals of a replication hold what they are for, by case, kind and level."""
    rows = simulate(np.random.default_rng(seed))
    model = MixedModelRegressor(
        "y ~ x + (x | g)", priors=PRIORS, lkj_eta=ETA, sampler="collapsed", draws=250, random_state=seed
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        warnings.simplefilter("always", ConvergenceWarning)  # chains are short, so that some have an R-hat above 1.01
        fits = {None: model.fit(rows["fit"])}
        fits["learned"] = model.condition(rows["learned"])
    warned.update(warning.category for warning in caught)
    found = {}
    for case, (group, learned, mode) in CASES.items():
        target = rows["target"].query(f"g == {group}")
        for kind, truth in [("response", target["y"].item()), ("mean", target["mean"].item())]:
            # the ends of all intervals at once, as `predict_interval` would give them one by one
            lows, highs = fits[learned].predict_quantiles(target, ENDS, kind, new_groups=mode).reshape(2, -1)
            found |= {
                (case, kind, level): low < truth < high for level, low, high in zip(LEVELS, lows, highs, strict=True)
            }
    return found


@pytest.fixture(scope="module")
def replications():
    """All replications, and how many fits warned."""
    warned = Counter()
    return pd.DataFrame([replicate(seed, warned) for seed in range(REPLICATIONS)]), warned


def z_of(held, level):
    """Coverage less its nominal level, in binomial standard errors."""
    return (held.mean() - level) / np.sqrt(level * (1 - level) / len(held))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", ["response", "mean"])
@pytest.mark.parametrize("case", list(CASES)[:3])
def test_intervals_hold_their_nominal_share(case, kind, level, replications):
    assert abs(z_of(replications[0][case, kind, level], level)) < 3.5


@pytest.mark.parametrize("kind", ["response", "mean"])
def test_intervals_that_forget_the_spread_of_groups_hold_too_little(kind, replications):
    """So the law above can fail."""
    assert z_of(replications[0]["new group taken for the average one", kind, 0.9], 0.9) < -3.5


def test_most_short_chains_pass_without_a_warning(replications):
    assert sum(replications[1].values()) < REPLICATIONS  # of twice as many fits
