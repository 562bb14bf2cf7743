"""The problems of `peers.py`, each as the numbers and names that an adapter reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from crossed import simulated
from problems import SMALL, Problem, insteval, large_intercepts, large_slopes
from sklearn.model_selection import GroupKFold
from transport_cases import many_rows, sleepstudy_t, slopes

import bayesmixed as bm
from bayesmixed.estimators.inputs import learn
from bayesmixed.formula.parse import parse
from bayesmixed.priors.defaults import default_priors

sys.path.append(str(Path(__file__).parent / "adapters"))
from stages import CHUNK, chunks

LKJ_ETA = 2.0


@dataclass(frozen=True)
class PeerProblem:
    """A problem, and which smaller ones foretell that a library will not finish it.

    One of more rows than a file should hold is made in chunks, of rows and groups as `made` says, in the process of
    each library (`stages.chunks`); `make` has the first.
    """

    name: str
    make: Callable[[], Problem]
    folds: bool = False  # small enough for ten fits more
    smaller: tuple[str, ...] = ()  # same model, fewer rows or groups
    made: tuple[int, int] | None = None
    only: tuple[str, ...] = ()  # libraries that are tried; of the others `sample` says what they need
    sample: str = ""  # a smaller problem

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


def _ones(frame: pd.DataFrame, column: str, **levels: Any) -> pd.DataFrame:
    """A column of 0 and 1 for each level named, in place of a category: every library reads these alike."""
    return frame.assign(**{name: (frame[column] == level).astype(int) for name, level in levels.items()})


def _cbpp() -> Problem:
    """Serological incidents of cattle, herds."""
    frame = bm.datasets.load_cbpp()
    frame = frame.assign(period=frame["period"].astype(int))
    frame = _ones(frame, "period", second=2, third=3, fourth=4)
    return Problem("p(incidence, size) ~ second + third + fourth + (1 | herd)", frame, {"family": "binomial"})


def _grouseticks() -> Problem:
    """Ticks on chicks, of broods at locations, and an effect of each row."""
    frame = bm.datasets.load_grouseticks()
    frame = _ones(frame.assign(YEAR=frame["YEAR"].astype(int)), "YEAR", year96=96, year97=97)
    formula = "TICKS ~ year96 + year97 + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)"
    return Problem(formula, frame, {"family": "poisson"})


def _verbagg() -> Problem:
    """Answers of persons to items, crossed."""
    frame = bm.datasets.load_verbagg()
    frame = frame.assign(yes=(frame["r2"] == "Y").astype(int), male=(frame["Gender"] == "M").astype(int))
    frame = _ones(_ones(frame, "btype", scold="scold", shout="shout"), "situ", oneself="self")
    formula = "yes ~ Anger + male + scold + shout + oneself + (1 | id) + (1 | item)"
    return Problem(formula, frame, {"family": "bernoulli"})


def _bernoulli(problem: Problem) -> Problem:
    """Of one trial in each row."""
    return problem._replace(options={"family": "bernoulli"})


def _ratings(rows: int, levels: dict[str, int]) -> Problem:
    """Crossed factors whose levels are not as frequent as each other."""
    formula, frame = simulated(rows, levels, even=False)
    return Problem(formula, frame, {})


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
    _slopes(10_000_000, 100_000),
    # whoever does not finish the smallest problem with 10,000 slopes is not asked for 100,000 intercepts of 1e6 rows
    PeerProblem(
        _name(1_000_000, 100_000, "intercepts"),
        large_intercepts,
        smaller=(_name(10_000, 10_000, "slopes"), _name(1_000_000, 100, "slopes")),
    ),
    PeerProblem("sleepstudy, t", sleepstudy_t, folds=True),
    PeerProblem("cbpp", _cbpp, folds=True),
    PeerProblem("grouseticks", _grouseticks),
    PeerProblem("VerbAgg", _verbagg),
    PeerProblem("Bernoulli, 500 groups", lambda: _bernoulli(slopes([3] * 500, 25))),
    PeerProblem(
        "Bernoulli, 1e4 groups", lambda: _bernoulli(many_rows("bernoulli", 10_000)), smaller=("Bernoulli, 500 groups",)
    ),
    PeerProblem("Poisson, 1e5 rows", lambda: many_rows("poisson", 2_000), smaller=("Bernoulli, 500 groups",)),
    PeerProblem("1e5 ratings", lambda: _ratings(100_000, {"a": 943, "b": 1682})),
    PeerProblem("1e6 ratings", lambda: _ratings(1_000_000, {"a": 6040, "b": 3706}), smaller=("1e5 ratings",)),
    PeerProblem(
        "1e8 rows, in chunks",
        lambda: Problem("y ~ x + (x | g)", next(chunks(CHUNK, 10_000)), {}),
        made=(100_000_000, 10_000),
        smaller=tuple(_name(rows, 10_000, "slopes") for rows in SIZES_OF_ROWS),
        only=("bayesmixed", "glmm", "GPBoost"),
        sample=_name(1_000_000, 10_000, "slopes"),
    ),
]


def describe(problem: Problem, folds: bool) -> dict[str, Any]:
    """What `adapters/stages.py` reads as a `Spec`: names and priors, and folds by the first factor."""
    name = problem.options.get("family", "gaussian")
    parsed = parse(problem.formula)
    learned = learn(problem.estimator(), problem.frame, None, None, reset=True)
    design, (_, family) = learned.design, learned.model
    priors = default_priors(design, family, LKJ_ETA)
    independent = problem._replace(options=problem.options | {"group_prior": "independent"}).estimator()
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
    sigma, nu = priors.auxiliary.get("sigma"), priors.auxiliary.get("nu")
    return {
        "formula": problem.formula,
        "response": parsed.response,
        "trials": parsed.trials,
        "common": list(design.common_names),
        "groups": groups,
        "intercept": {"mu": priors.intercept.mu, "sigma": priors.intercept.sigma},
        "centre": {name: priors.swept.get(name, {}).get("Intercept", 0.0) for name in design.common_names},
        "common_sds": {name: prior.sigma for name, prior in priors.common.items()},
        "lkj_eta": LKJ_ETA,
        "sigma": sigma and {"nu": sigma.nu, "sigma": sigma.sigma},
        "nu": nu and {"alpha": nu.prior.alpha, "beta": nu.prior.beta},
        "family": name,
        "folds": fold_of_rows(problem.frame, groups[0]["columns"][0]) if folds else None,
    }


def fold_of_rows(frame: pd.DataFrame, factor: str) -> list[int]:
    """Ten folds of whole groups."""
    fold = np.zeros(len(frame), dtype=int)
    for number, (_, test) in enumerate(GroupKFold(10).split(frame, groups=frame[factor])):
        fold[test] = number
    return fold.tolist()
