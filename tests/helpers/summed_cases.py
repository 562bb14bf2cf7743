"""Designs whose fits of rows and of sums are compared, and the frame that they are of."""

import numpy as np
import pandas as pd

import bayesmixed as bm
from bayesmixed.formula.terms import FIXED_SPLINE

UNCENTRED = ", center=False" if "center" in FIXED_SPLINE else ""  # a word of formulae since 0.8
FAST = {"draws": 200, "chains": 2, "random_state": 3}


def make_frame(n=120, seed=0):
    """Levels of every kind, some of few rows, columns far from zero, positive responses."""
    rng = np.random.default_rng(seed)
    pupil = rng.integers(0, 14, n)
    frame = pd.DataFrame(
        {
            "x": rng.normal(1, 2, n),
            "z": rng.uniform(0, 3, n),
            "year": 2010.0 + rng.integers(0, 8, n),
            "k": rng.choice(["a", "b", "c"], n),
            "pupil": np.array([f"p{i:02d}" for i in range(14)])[pupil],
            "school": pupil % 4,
            "town": pupil % 2,
            "item": rng.integers(0, 6, n),
            "w": rng.integers(1, 4, n).astype(float),
        }
    )
    effect = rng.normal(0, 1, (14, 2))
    eta = 1 + 0.3 * frame["x"] + effect[pupil, 0] + 0.4 * effect[pupil, 1] * frame["x"] + 0.3 * frame["item"]
    frame["y"] = eta + rng.normal(0, 0.7, n)
    frame["wait"] = np.exp(0.3 * frame["y"])
    return frame


def large_crossed(n=1500, seed=1):
    """Two crossed factors of which the smaller has more effects than a dense elimination takes under "auto"."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 120, n), rng.integers(0, 90, n)
    y = rng.normal(0, 1, 120)[a] + rng.normal(0, 0.8, 90)[b] + rng.normal(0, 1, n)
    return pd.DataFrame({"y": y, "x": rng.normal(size=n), "a": a, "b": b})


# formula, options of `of`, options of the estimator
CASES = {
    "intercepts": ("y ~ x + (1 | pupil)", {}, {}),
    "slopes": ("y ~ x + k + (x | pupil)", {}, {}),
    "a slope far from zero": ("y ~ year + (year | pupil)", {}, {}),
    "independent": ("y ~ x + (x || pupil) + (0 + z | school)", {}, {}),
    "nested": ("y ~ x + (1 | town/school/pupil)", {}, {}),
    "crossed": ("y ~ k*x + (x | pupil) + (1 | item)", {}, {}),
    "a category by group": ("y ~ z + (k | pupil)", {}, {}),
    "a spline": ("y ~ bs(z, df=5) + (1 | pupil)", {}, {}),
    "a spline of stated knots": (
        f"y ~ 0 + bs(z, knots=[1, 2], lower_bound=0, upper_bound=3{UNCENTRED}) + (1 | pupil)",
        {},
        {},
    ),
    "weights": ("y ~ x + (x | pupil)", {"sample_weight": "w"}, {}),
    "log-normal": ("wait ~ x + (1 | pupil)", {"family": "lognormal"}, {}),
    "an offset, no intercept": ("y ~ 0 + k + offset(z) + (0 + x | pupil)", {}, {}),
    "no groups": ("y ~ x*k + scale(z)", {}, {}),
    "own priors": ("y ~ x + (x | pupil)", {}, {"priors": {"x": bm.Normal(0, 2), "sd_pupil": bm.HalfNormal(3)}}),
}


def fit_rows(formula, frame, of, options):
    """The fit of the rows themselves."""
    est = bm.MixedModelRegressor(formula, family=of.get("family", "gaussian"), **FAST, **options)
    return est.fit(frame, sample_weight=frame["w"].to_numpy() if of.get("sample_weight") else None)


def fit_sums(statistics, of, options):
    """The fit of sums over rows."""
    est = bm.MixedModelRegressor(None, family=of.get("family", "gaussian"), **FAST, **options)
    return est.fit(statistics)


def largest_difference(one, other):
    """Of all draws, in units of a variable's standard deviation or its entries'."""
    a, b = one._posterior.draws.values, other._posterior.draws.values
    assert list(a) == list(b)
    found = []
    for name, values in a.items():
        assert values.shape == b[name].shape, name
        size = values.std(axis=(0, 1))
        found.append(np.max(np.abs(values - b[name]) / np.where(size > 0, size, 1), initial=0.0))
    return max(found)
