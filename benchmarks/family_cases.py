"""Designs whose response is not normal, with priors that depend on no data, to simulate from and to fit with.

The response is drawn from SciPy's distribution of the family, whose density and distribution function also serve to
check draws of the posterior: nothing here is taken from the package but the priors' parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from collapsed_sbc import ETA, Case, draw_prior, scalars
from scipy import stats
from scipy.special import expit

import bayesmixed as bm

NU_FLOOR = 1.0  # degrees of freedom are above one in the model: their prior is restricted to that
BETA_INSIDE = 2.0**-53  # a share nearer to 0 or 1 may be rounded to it


def distribution(family: str, eta: np.ndarray, trials: np.ndarray | None, **auxiliary: Any) -> Any:
    """SciPy's distribution of the response at a linear predictor, with the family's usual link."""
    mu = eta if family == "t" else expit(eta) if family in ("binomial", "beta") else np.exp(eta)
    match family:
        case "binomial":
            return stats.binom(trials, mu)
        case "poisson":
            return stats.poisson(mu)
        case "negativebinomial":
            return stats.nbinom(auxiliary["alpha"], auxiliary["alpha"] / (auxiliary["alpha"] + mu))
        case "gamma":
            return stats.gamma(auxiliary["alpha"], scale=mu / auxiliary["alpha"])
        case "beta":
            return stats.beta(mu * auxiliary["kappa"], expit(-eta) * auxiliary["kappa"])
        case "t":
            return stats.t(auxiliary["nu"], mu, auxiliary["sigma"])
    raise ValueError(family)


@dataclass(frozen=True)
class FamilyCase:
    """A design and its priors.

    Attributes
    ----------
    name, family : str
    groups : Case
        Formula, rows (of family "binomial" with their `trials`), and the effects of groups with their prior.
    intercept, slope : Normal
        Priors of the intercept and of the coefficient of x.
    auxiliary : dict of str to prior
    """

    name: str
    family: str
    groups: Case
    intercept: bm.Normal
    slope: bm.Normal
    auxiliary: dict[str, Any] = field(default_factory=dict)
    group_prior: str = "lkj"

    @property
    def formula(self) -> str:
        """Of the model."""
        return self.groups.formula

    @property
    def frame(self) -> pd.DataFrame:
        """Rows without a response."""
        return self.groups.frame

    @property
    def trials(self) -> np.ndarray | None:
        """Of every row; None where the family has none."""
        return self.frame["trials"].to_numpy() if self.family == "binomial" else None

    @property
    def estimator(self) -> dict[str, Any]:
        """Parameters of the estimator beside formula and priors."""
        trials = {} if self.trials is None else {"trials": "trials"}
        return {"family": self.family, "sampler": "transport", **trials}

    @property
    def priors(self) -> bm.Priors:
        """The prior of every parameter; nothing is left to the defaults, which depend on the data."""
        slopes, sd = self.groups.slopes, self.groups.sd_prior
        return bm.Priors(
            intercept=self.intercept,
            common={"x": self.slope},
            group_sd={factor: dict.fromkeys(("Intercept", *effects), sd) for factor, effects in slopes.items()},
            lkj_eta={factor: ETA for factor, effects in slopes.items() if effects},
            auxiliary=self.auxiliary,
        )

    def of_rows(self, frame: pd.DataFrame) -> FamilyCase:
        """The same model of other rows."""
        return replace(self, groups=self.groups._replace(frame=frame))

    def response(self, eta: np.ndarray, auxiliary: dict[str, Any]) -> Any:
        """Distribution of the response at linear predictors (..., row) and auxiliary parameters (...,)."""
        by_row = {name: np.asarray(auxiliary[name])[..., None] for name in self.auxiliary}
        return distribution(self.family, eta, self.trials, **by_row)

    def simulate(self, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
        """Draw parameters from their priors, and a response; returns it and the quantities that are ranked."""
        truth = {"Intercept": draw_prior(self.intercept, rng), "beta": draw_prior(self.slope, rng)}
        truth |= {name: self._draw_auxiliary(name, rng) for name in self.auxiliary}
        added, drawn = self.groups.draw_effects(rng)
        response = self.response(truth["Intercept"] + truth["beta"] * self.frame["x"].to_numpy() + added, truth)
        y = np.asarray(response.rvs(random_state=rng), dtype=float)
        if self.family == "beta":
            y = np.clip(y, BETA_INSIDE, 1 - BETA_INSIDE)
        return y, truth | drawn | {"log_likelihood": log_likelihood(response, y)}

    def _draw_auxiliary(self, name: str, rng: np.random.Generator) -> float:
        while True:
            value = draw_prior(self.auxiliary[name], rng)
            if name != "nu" or value > NU_FLOOR:
                return value

    def quantities(self, y: np.ndarray, posterior: Any) -> dict[str, np.ndarray]:
        """Draws (chain, draw) of what is ranked; of group effects, the first level's."""
        values = {name: variable.values for name, variable in posterior.data_vars.items()}
        response = self.response(self.groups.linear_predictor(values), values)
        return {"log_likelihood": log_likelihood(response, y), **scalars(values)}


def log_likelihood(response: Any, y: np.ndarray) -> Any:
    """Joint log density of the rows."""
    log_density = response.logpmf if hasattr(response, "logpmf") else response.logpdf
    return log_density(y).sum(axis=-1)


def rows(seed: int, levels: int, each: int, *, whole: bool = False) -> pd.DataFrame:
    """So many rows of every level of g, with x standard normal, or one of -1, 0 and 1, so that rows coincide."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-1, 2, levels * each) if whole else rng.normal(size=levels * each)
    return pd.DataFrame({"g": np.repeat(np.arange(levels), each), "x": x.astype(float)})


ONE, SLOPES = "y ~ x + (1 | g)", "y ~ x + (x | g)"
WIDE, MIDDLE, NARROW = bm.Normal(0, 1), bm.Normal(0, 0.7), bm.Normal(0, 0.5)


def cases() -> dict[str, FamilyCase]:
    """By name; 12 to 16 levels, 72 to 120 rows."""
    trials = np.random.default_rng(10).integers(1, 9, 75)
    g, h = np.divmod(np.arange(96), 8)
    crossed = rows(7, 96, 1).assign(g=g, h=h, trials=1)
    half, one = bm.HalfNormal(0.5), bm.HalfNormal(1)
    found = [
        FamilyCase(
            "Bernoulli q=2", "binomial", Case(SLOPES, rows(0, 16, 7).assign(trials=1), {"g": ("x",)}, one), WIDE, WIDE
        ),
        FamilyCase(
            "binomial",
            "binomial",
            Case(ONE, rows(1, 15, 5, whole=True).assign(trials=trials), {"g": ()}, one),
            WIDE,
            WIDE,
        ),
        FamilyCase(
            "Poisson", "poisson", Case(ONE, rows(2, 15, 5, whole=True), {"g": ()}, half), bm.Normal(1, 0.7), NARROW
        ),
        FamilyCase(
            "negative binomial",
            "negativebinomial",
            Case(ONE, rows(3, 15, 6), {"g": ()}, half),
            bm.Normal(1, 0.7),
            NARROW,
            {"alpha": bm.LogNormal(1, 0.6)},
        ),
        FamilyCase(
            "gamma", "gamma", Case(ONE, rows(4, 15, 5), {"g": ()}, half), WIDE, NARROW, {"alpha": bm.LogNormal(1, 0.6)}
        ),
        FamilyCase(
            "t",
            "t",
            Case(ONE, rows(5, 15, 6), {"g": ()}, one),
            WIDE,
            WIDE,
            {"sigma": bm.HalfNormal(1), "nu": bm.Gamma(2, 0.1)},
        ),
        FamilyCase(
            "beta",
            "beta",
            Case(ONE, rows(6, 15, 5), {"g": ()}, half),
            MIDDLE,
            NARROW,
            {"kappa": bm.LogNormal(2.5, 0.5)},
        ),
        FamilyCase(
            "crossed Bernoulli",
            "binomial",
            Case("y ~ x + (1 | g) + (1 | h)", crossed, {"g": (), "h": ()}, one),
            WIDE,
            WIDE,
        ),
    ]
    return {case.name: case for case in found}
