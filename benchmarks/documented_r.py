"""Fits of documented models beside R's: lme4's of continuous responses, glmer's and clmm's of the others.

R's answers are read from files: those of lme4 come with the registry (``lmer.jsonl``), the others are in
``documented_glmms.jsonl``, which ``documented_glmms.R`` has written. No R is needed here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from documented import Row, first_words

OF_COMPARISON = ("compared", "difference", "effect", "ours", "our_sd", "theirs", "from_laplace")
OF_COMPARISON += ("sds", "sds_matched", "sds_inside", "sds_zero", "sds_outside")


def r_fits(folder: Path) -> dict[str, Row]:
    """What R answered, by the model."""
    files = (folder / "lmer.jsonl", Path(__file__).with_name("documented_glmms.jsonl"))
    return {fit["id"]: fit for file in files for fit in map(json.loads, file.open())}


def compare(est: Any, frame: pd.DataFrame, fit: Row | None) -> Row:
    """Columns of the comparison, `OF_COMPARISON`: differences are ours less R's, in R's standard errors."""
    if why := incomparable(est, frame, fit):
        return {"compared": f"no: {why}"}
    if "X" in fit:
        return compare_common(est, frame, fit) | compare_sds(matched_sds(est, fit), len(fit["sds"]))
    best = fit.get("quadrature", fit["laplace"])
    return compare_by_name(est, fit) | compare_sds(single_sds(est, best), len(best["sds"]))


def incomparable(est: Any, frame: pd.DataFrame, fit: Row | None) -> str:
    """Why R's fit is not of the same model and rows, or is none; empty if it is."""
    if fit is None or fit["status"] != "ok":
        return "R has no fit" + (f": {first_words(fit['message'])}" if fit and fit.get("message") else "")
    is_lmer = "X" in fit
    if is_lmer and est.family != "gaussian":
        return f"lmer has no family {est.family!r}"
    if est.link is not None:
        return f"R's fit has another link than {est.link!r}"
    rows = fit["n"] if is_lmer else fit["rows"]
    if len(frame) != rows:
        return f"{len(frame)} rows, R used {rows}"
    said = [] if is_lmer else fit.get("quadrature", fit["laplace"])["messages"]
    late = [message for message in said if "without convergence" in message]
    return f"R has not converged: {first_words(late[0])}" if late else ""


# ---- lme4


def rank(X: np.ndarray) -> int:
    """Rank of columns, whatever their units."""
    size = np.linalg.norm(X, axis=0)
    return int(np.linalg.matrix_rank(X[:, size > 0] / size[size > 0], tol=1e-7))


def compare_common(est: Any, frame: pd.DataFrame, lmer: Row) -> Row:
    """Common effects: the largest difference of the posterior mean from lme4's estimate.

    The codings may differ. So the common part of our linear predictor, on the rows of which lme4's design is known, is
    written in the columns of lme4's design, which is unique where both designs span the same space.
    """
    theirs = np.array(lmer["X"], dtype=float)
    rows = frame.loc[[row - 1 for row in lmer["rows"]]]
    design = est.design_spec_.apply(rows)
    ours = np.column_stack([np.ones((len(rows), int(design.has_intercept))), design.X])
    beta = np.append([est.intercept_] if design.has_intercept else [], est.coef_)
    ranks = rank(theirs), rank(ours), rank(np.hstack([theirs, ours]))
    if len(set(ranks)) > 1 or ranks[0] < theirs.shape[1]:
        return {
            "compared": f"no: columns span other spaces, ranks {ranks[0]} (lmer), {ranks[1]} (ours), {ranks[2]} (both)"
        }
    size = np.linalg.norm(theirs, axis=0)
    coded = np.linalg.lstsq(theirs / size, ours @ beta)[0] / size
    estimates = np.array(list(lmer["fixef"].values()))
    apart = (coded - estimates) / np.array(lmer["se"])
    at = int(np.abs(apart).argmax())
    columns = "REML" if design.X.shape[1] + design.has_intercept == ranks[0] else "REML, ours not of full rank"
    values = {"effect": list(lmer["fixef"])[at], "ours": coded[at], "theirs": estimates[at]}
    return {"compared": columns, "difference": apart[at], **values}


def our_sds(est: Any) -> dict[frozenset[str], dict[str, np.ndarray]]:
    """Draws of the standard deviations, by the columns of the factor, and effect."""
    posterior, found = est.idata_["posterior"], {}
    for spec in est.design_spec_.groups:
        sds = posterior[f"sd_{spec.name}"]
        draws = np.moveaxis(sds.to_numpy(), 2, 0).reshape(sds.shape[2], -1)
        effects = [str(effect) for effect in sds[sds.dims[2]].to_numpy()]
        found[frozenset(spec.name.split(":"))] = dict(zip(effects, draws, strict=True))
    return found | {frozenset(["Residual"]): {"": posterior["sigma"].to_numpy().ravel()}}


def matched_sds(est: Any, lmer: Row) -> Iterator[tuple[str, float, np.ndarray]]:
    """Each of lme4's standard deviations that has its like: its name, its value, our draws.

    The slopes of a factor match in order, and its intercepts, where there are as many slopes: else they are those of
    another coding, on which the intercept depends.
    """
    ours = our_sds(est)
    theirs: dict[frozenset[str], dict[str, float]] = {}
    for name, effect, value in lmer["sds"]:  # the second bar of 'g' is called 'g.1'
        factor = name if name in lmer["groups"] else re.sub(r"\.\d+$", "", name)
        theirs.setdefault(frozenset(factor.split(":")), {})[effect] = value
    for factor, sds in theirs.items():
        draws = dict(ours.get(factor, {}))
        intercepts = [draws.pop("Intercept")] if "Intercept" in draws else []
        if len(intercepts) != ("(Intercept)" in sds) or len(intercepts) + len(draws) != len(sds):
            continue
        effects = sorted(sds, key=lambda effect: effect != "(Intercept)")
        for effect, mine in zip(effects, [*intercepts, *draws.values()], strict=True):
            yield f"{':'.join(sorted(factor))} {effect}".strip(), sds[effect], mine


def compare_sds(matches: Iterator[tuple[str, float, np.ndarray]], number: int) -> Row:
    """Standard deviations: how many of R's are inside our central 95 % intervals, which never hold a 0."""
    matched = list(matches)
    outside = []
    for name, value, draws in matched:
        low, high = np.quantile(draws, [0.025, 0.975])
        if not low <= value <= high:
            outside.append(f"{name}: {value:.4g} not in [{low:.4g}, {high:.4g}]")
    return {
        "sds": number,
        "sds_matched": len(matched),
        "sds_inside": len(matched) - len(outside),
        "sds_zero": sum(draws.mean() > 1e4 * value for _, value, draws in matched),
        "sds_outside": "; ".join(outside),
    }


# ---- glmer, clmm


def plain(name: str) -> str:
    """A common effect's name, ours or R's, without what the two write differently."""
    name = re.sub(r"(\d)\.0\b", r"\1", re.sub(r"[\[\]`]", "", name).lower())  # whole numbers that name classes
    return re.sub(r"\bc\(", "factor(", name).replace("(intercept)", "intercept")


def apart(ours: dict[str, list[float]], fit: Row) -> pd.Series:
    """Posterior means less estimates, in standard errors, by name."""
    names = [plain(name) for name in fit["names"]]
    means = np.array([ours[name][0] for name in names])
    return pd.Series((means - np.array(fit["estimates"])) / np.array(fit["errors"]), names)


def common_draws(est: Any) -> dict[str, np.ndarray]:
    """Draws of the intercept, or the thresholds, and of the common effects, by name."""
    posterior = est.idata_["posterior"]
    draws = {"Intercept": posterior["Intercept"]} if "Intercept" in posterior else {}
    if "thresholds" in posterior:
        draws |= {name: posterior["thresholds"].sel(threshold=name) for name in posterior["threshold"].to_numpy()}
    if "beta" in posterior:
        draws |= {name: posterior["beta"].sel(common_effect=name) for name in posterior["common_effect"].to_numpy()}
    return {str(name): values.to_numpy().ravel() for name, values in draws.items()}


def single_sds(est: Any, fit: Row) -> Iterator[tuple[str, float, np.ndarray]]:
    """Each of R's standard deviations of factors that have one alone: its name, its value, our draws."""
    posterior = est.idata_["posterior"]
    for spec in est.design_spec_.groups:
        if len(spec.effect_names) == 1 and spec.name in fit["sds"]:
            yield spec.name, fit["sds"][spec.name], posterior[f"sd_{spec.name}"].to_numpy().ravel()


def compare_by_name(est: Any, fit: Row) -> Row:
    """Common effects by name: ours less R's by quadrature, where there is one scalar effect, else by Laplace's."""
    how = "quadrature" if "quadrature" in fit else "laplace"
    best = fit[how]
    ours = {plain(name): [float(x.mean()), float(x.std())] for name, x in common_draws(est).items()}
    if differ := sorted(set(ours) ^ set(map(plain, best["names"]))):
        return {"compared": f"no: effects only here or only there: {', '.join(differ)}"}
    if not ours:
        return {"compared": "no: no common effects"}
    if "NaN" in best["errors"]:
        return {"compared": "no: R's fit has no standard errors"}
    difference, from_laplace = (apart(ours, fit[by]) for by in (how, "laplace"))
    at, at_laplace = (one.abs().idxmax() for one in (difference, from_laplace))
    estimate = best["estimates"][list(difference.index).index(at)]
    values = {"effect": at, "ours": ours[at][0], "our_sd": ours[at][1], "theirs": estimate}
    return {"compared": how, "difference": difference[at], **values, "from_laplace": from_laplace[at_laplace]}
