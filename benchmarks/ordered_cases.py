"""Designs of ordered responses, with priors that depend on no data; `family_cases` has those of numeric responses.

The response is where a logistic variable falls among thresholds; the log likelihood of draws consists of differences of
the logistic distribution function at the posterior's thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from collapsed_sbc import Case, draw_prior, numbered, scalars
from family_cases import NARROW, ONE, SLOPES, WIDE, FamilyCase, rows
from scipy.special import expit

import bayesmixed as bm

K = 4
MIDDLE = (K - 1) // 2  # the threshold that has a prior of its own; the gaps have the others


@dataclass(frozen=True)
class OrderedCase(FamilyCase):
    """A design whose response is one of the classes 0 to 3; `intercept` is the prior of minus the middle threshold."""

    @property
    def estimator(self) -> dict[str, Any]:
        return {"family": self.family, "sampler": "transport", "classes": range(K)}

    @property
    def priors(self) -> bm.Priors:
        return replace(super().priors, threshold=f"{MIDDLE}|{MIDDLE + 1}")

    def simulate(self, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
        """Draw parameters from their priors, and a response; returns it and the quantities that are ranked."""
        middle, slope = -draw_prior(self.intercept, rng), draw_prior(self.slope, rng)
        gaps = np.array([draw_prior(prior, rng) for prior in self.auxiliary.values()])
        edges = np.concatenate([[0.0], np.cumsum(gaps)])
        thresholds = middle + edges - edges[MIDDLE]
        added, drawn = self.groups.draw_effects(rng)
        eta = slope * self.frame["x"].to_numpy() + added
        y = np.searchsorted(thresholds, eta + rng.logistic(size=len(eta)))
        truth = {**numbered("thresholds", thresholds), "beta": slope, **drawn}
        return y.astype(float), truth | {"log_likelihood": log_likelihood(y, eta, thresholds)}

    def quantities(self, y: np.ndarray, posterior: Any) -> dict[str, np.ndarray]:
        """Draws (chain, draw) of what is ranked; of group effects, the first level's."""
        values = {name: variable.values for name, variable in posterior.data_vars.items()}
        eta = self.groups.linear_predictor({**values, "Intercept": np.zeros(values["beta"].shape[:2])})
        return {"log_likelihood": log_likelihood(y.astype(int), eta, values["thresholds"]), **scalars(values)}


def log_likelihood(y: np.ndarray, eta: np.ndarray, thresholds: np.ndarray) -> Any:
    """Joint log probability of the rows, (...,), at predictors (..., row) and thresholds (..., K - 1)."""
    ends = np.full((*thresholds.shape[:-1], 1), np.inf)
    at = np.concatenate([-ends, thresholds, ends], axis=-1)
    below, above = expit(at[..., y] - eta), expit(eta - at[..., y])
    up_to, beyond = expit(at[..., y + 1] - eta), expit(eta - at[..., y + 1])
    return np.log(np.where(below < 0.5, up_to - below, above - beyond)).sum(axis=-1)  # in the nearer tail


def ordered_cases() -> dict[str, OrderedCase]:
    """By name; 15 or 16 levels, 75 or 112 rows."""
    gaps = {f"gaps[{k}]": bm.LogNormal(0, 0.5) for k in range(1, K - 1)}
    found = [
        OrderedCase(
            "cumulative", "cumulative", Case(ONE, rows(8, 15, 5), {"g": ()}, bm.HalfNormal(1)), WIDE, WIDE, gaps
        ),
        OrderedCase(
            "cumulative q=2",
            "cumulative",
            Case(SLOPES, rows(9, 16, 7), {"g": ("x",)}, bm.HalfNormal(1)),
            WIDE,
            NARROW,
            gaps,
        ),
    ]
    return {case.name: case for case in found}
