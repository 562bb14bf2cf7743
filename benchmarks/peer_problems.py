"""The problems of `peers.py`, each as the numbers and names that an adapter reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from problems import SMALL, Problem, insteval, large_intercepts, large_slopes
from sklearn.model_selection import GroupKFold

import bayesmixed as bm
from bayesmixed.estimators.inputs import learn
from bayesmixed.priors.defaults import default_priors

LKJ_ETA = 2.0


@dataclass(frozen=True)
class PeerProblem:
    """A problem, and which smaller ones foretell that a library will not finish it."""

    name: str
    make: Callable[[], Problem]
    folds: bool = False  # small enough for ten fits more
    smaller: tuple[str, ...] = ()  # same model, fewer rows or groups

    @property
    def missing(self) -> str:
        """Why it cannot be made here; empty if it can."""
        if self.name == "InstEval" and not (Path(os.environ.get("BAYESMIXED_DATA", "")) / "InstEval.csv").exists():
            return "not in this repository: see `insteval` in problems.py for where it comes from"
        return ""


def _insteval() -> Problem:
    """With service as the number 0 or 1, which every library reads alike."""
    problem = insteval()
    return problem._replace(frame=problem.frame.astype({"service": int}))


def _slopes(rows: int, groups: int) -> PeerProblem:
    smaller = [(r, g) for r in SIZES_OF_ROWS for g in SIZES_OF_GROUPS if r <= rows and g <= groups]
    return PeerProblem(
        _name(rows, groups, "slopes"),
        lambda: large_slopes(rows, groups),
        smaller=tuple(_name(r, g, "slopes") for r, g in smaller if (r, g) != (rows, groups)),
    )


def _name(rows: int, groups: int, effects: str) -> str:
    return f"1e{len(str(rows)) - 1} rows, 1e{len(str(groups)) - 1} {effects}"


SIZES_OF_ROWS, SIZES_OF_GROUPS = (10_000, 100_000, 1_000_000), (100, 10_000)
PROBLEMS = [
    PeerProblem("sleepstudy", SMALL["sleepstudy"], folds=True),
    PeerProblem("sleepstudy independent", SMALL["sleepstudy independent"]),
    PeerProblem("Penicillin", SMALL["Penicillin"]),
    PeerProblem("Pastes", SMALL["Pastes"], folds=True),
    PeerProblem("InstEval", _insteval),
    *(_slopes(rows, groups) for groups in SIZES_OF_GROUPS for rows in SIZES_OF_ROWS),
    # whoever does not finish the smallest problem with 10,000 slopes is not asked for 100,000 intercepts of 1e6 rows
    PeerProblem(
        _name(1_000_000, 100_000, "intercepts"),
        large_intercepts,
        smaller=(_name(10_000, 10_000, "slopes"), _name(1_000_000, 100, "slopes")),
    ),
]


def describe(problem: Problem, folds: bool) -> dict[str, Any]:
    """What `adapters/stages.py` reads as a `Spec`: names and priors, and folds by the first factor."""
    group_prior = problem.options.get("group_prior", "lkj")
    name = problem.options.get("family", "gaussian")
    estimator = bm.MixedModelRegressor(problem.formula, family=name, group_prior=group_prior)
    learned = learn(estimator, problem.frame, None, None, reset=True)
    design, (_, family) = learned.design, learned.model
    priors = default_priors(design, family, LKJ_ETA)
    independent = bm.MixedModelRegressor(problem.formula, family=name, group_prior="independent")
    at_zero = default_priors(learn(independent, problem.frame, None, None, reset=True).design, family)
    groups = [
        {
            "name": factor.name,
            "columns": factor.name.split(":"),
            "effects": list(factor.effect_names),
            "sds": [priors.group_sd[factor.name][effect].sigma for effect in factor.effect_names],
            "sds_at_zero": [at_zero.group_sd[factor.name][effect].sigma for effect in factor.effect_names],
            "sweep": priors.group_sweep(factor.name, factor.effect_names).tolist(),
            "correlated": bool(factor.pairs),
        }
        for factor in design.groups
    ]
    sigma = priors.auxiliary.get("sigma")
    return {
        "formula": problem.formula,
        "response": problem.formula.split("~")[0].strip(),
        "common": list(design.common_names),
        "groups": groups,
        "intercept": {"mu": priors.intercept.mu, "sigma": priors.intercept.sigma},
        "centre": {name: priors.swept.get(name, {}).get("Intercept", 0.0) for name in design.common_names},
        "common_sds": {name: prior.sigma for name, prior in priors.common.items()},
        "lkj_eta": LKJ_ETA,
        "sigma": sigma and {"nu": sigma.nu, "sigma": sigma.sigma},
        "family": name,
        "folds": fold_of_rows(problem.frame, groups[0]["columns"][0]) if folds else None,
    }


def fold_of_rows(frame: pd.DataFrame, factor: str) -> list[int]:
    """Ten folds of whole groups."""
    fold = np.zeros(len(frame), dtype=int)
    for number, (_, test) in enumerate(GroupKFold(10).split(frame, groups=frame[factor])):
        fold[test] = number
    return fold.tolist()
