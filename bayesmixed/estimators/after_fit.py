"""After the fit: learn from new rows without fitting again, and predict each fitted row from all others."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bayesmixed import _compat
from bayesmixed.chunks import allowed, at_once
from bayesmixed.design.spec import Design
from bayesmixed.design.summed.checksum import checksum
from bayesmixed.design.summed.summed import Summed
from bayesmixed.errors import SamplerError, quoted, warn
from bayesmixed.estimators.inputs import Rows
from bayesmixed.posterior.diagnostics import convergence
from bayesmixed.posterior.draws import Draws
from bayesmixed.posterior.posterior import Posterior
from bayesmixed.prediction import predict as prediction
from bayesmixed.prediction.linear import Predictors
from bayesmixed.sampling import choose as sampling

_DRAWS = 400  # fewest draws of the pointwise log likelihood
_MIN_DRAWS = 25  # fewest draws for fitting Pareto k-hat to their tail
_REFITS = 10  # most refits, for the rows of largest k-hat; each takes about as long as the fit
_MAX_ERROR = 0.3  # standard error of a log density from such a fit, above which it stays doubtful
_SHOWN = 10  # most labels of rows in a warning
_INTEGRATED = "group and common effects are integrated out, given all other rows: valid for LOO, not for WAIC"
_CONDITIONAL = "given the effects of each draw: valid for LOO, less reliable if groups are small, and for WAIC"


def condition(
    posterior: Posterior, frame: pd.DataFrame, y: np.ndarray, weights: np.ndarray | None, *, progressbar: bool
) -> tuple[Posterior, Design, Summed | None]:
    """The posterior given the fitted rows and new ones, and the new rows' design and sums.

    Parameters
    ----------
    posterior : Posterior
    frame : DataFrame of shape (n, k)
        Of known and new groups.
    y, weights : numpy.ndarray of shape (n,)
        As read by `rows_that_count`.
    progressbar : bool

    Raises
    ------
    ValueError
        For missing labels or values, a response outside the family's support, or a new label of another type than the
        fitted ones.
    SamplerError
        If the draws were made by NUTS, or by a sampler that does not support the model of all rows.
    """
    table = posterior.spec.read(frame, y=y, weights=weights)
    for group in posterior.spec.groups:
        table.refuse_missing_labels(group.factor_levels.columns, group.name)
    design = posterior.spec.evaluate(table)
    if design.n_rows == 0:
        kind = "" if weights is None else " of positive weight"
        raise ValueError(f"condition needs at least one row, got a frame of 0 rows{kind}.")
    posterior.family.check(design.observed, design.trials)
    spec, extended = posterior.spec.extended(design)
    for group, factor in zip(posterior.spec.groups, design.groups, strict=True):
        if mismatch := group.factor_levels.type_mismatch(table, factor.codes):
            warn(mismatch)
    design = extended
    fitted = as_fitted(posterior, design)
    draws = sampling.update(posterior.draws, spec, fitted, seed=posterior.seed, progressbar=progressbar)
    summed = Summed.of_rows(spec, design, table, posterior.family) if posterior.family.collapses else None
    return replace(posterior, model=replace(posterior.model, spec=spec), draws=draws), design, summed


def as_fitted(posterior: Posterior, design: Design) -> Design:
    """The design as its engine uses it: with the working response if the family collapses."""
    return design.working(posterior.family) if posterior.family.collapses else design


def check_rows(design: Design, rows: Rows) -> None:
    """Reject rows that are not those of the fit, as far as `rows` can tell.

    Raises
    ------
    ValueError
    """
    for factor in design.groups:
        if factor.new_labels:
            raise ValueError(
                f"loo needs the rows of the fit, but grouping factor {factor.name!r} has labels that were not in fit: "
                f"{quoted(factor.new_labels)}."
            )
    if design.n_rows != rows.n_rows if rows.checksum is None else checksum(design) != rows.checksum:
        raise ValueError(
            "loo needs the rows of the fit, all of them and no others, with their y and weights; these "
            f"{design.n_rows} rows are different. After condition, pass all rows so far in one frame."
        )


def loo(posterior: Posterior, design: Design, obs: np.ndarray, *, progressbar: bool) -> Any:
    """ArviZ's estimate of the expected log density of new rows, by leaving each row out.

    Parameters
    ----------
    posterior : Posterior
    design : Design
        The fitted rows.
    obs : numpy.ndarray of shape (n,)
        Their labels.
    progressbar : bool
        For fits without a row.

    Returns
    -------
    arviz.ELPDData
        Its attribute ``log_likelihood`` is the DataArray (chain, draw, obs) that it was computed from.

    Warns
    -----
    UserWarning
        Names the rows whose values are doubtful.

    Notes
    -----
    The leave-one-out weight of a draw is one over the row's density at that draw (Vehtari, Gelman & Gabry, 2017,
    Practical Bayesian model evaluation using leave-one-out cross-validation and WAIC, Statistics and Computing 27).
    That also holds for densities given all other rows with the effects integrated out, where only the covariances and
    sigma are weighted (Bürkner, Gabry & Vehtari, 2021, Efficient leave-one-out cross-validation for Bayesian
    non-factorized normal and Student-t models, Computational Statistics 36).
    """
    import xarray as xr  # noqa: PLC0415 - not needed by fit and predict

    chains, per_chain = posterior.draws.shape
    wanted = min(per_chain, max(_DRAWS, at_once(design.n_rows, allowed().stored)) // chains)
    within = prediction.thin((chains, per_chain), chains * max(1, wanted))
    keep = prediction.positions((chains, per_chain), within)
    if len(keep) < _MIN_DRAWS:
        raise ValueError(
            f"loo needs at least {_MIN_DRAWS} draws for Pareto k-hat, got {len(keep)}; fit with more draws."
        )
    state = posterior.draws.state
    integrated = state is not None
    if state is None:
        values = conditional_log_density(posterior, design, keep)
    else:
        values = state.leave_one_out(posterior.draws, as_fitted(posterior, design), keep)
        if posterior.family.collapses:
            values = values + _weighted(posterior.family.log_jacobian(design.observed), design)
    log_likelihood = xr.DataArray(
        values.reshape(chains, len(within), -1),
        {"chain": np.arange(chains), "draw": within, "obs": obs},
        ("chain", "draw", "obs"),
        "y",
        {"effects": "integrated" if integrated else "conditional", "use": _INTEGRATED if integrated else _CONDITIONAL},
    )
    result = _compat.loo(log_likelihood.to_dataset(), _relative_ess(posterior, len(keep)))
    result.log_likelihood = log_likelihood
    k_hat = result.pareto_k.values
    doubtful = [int(row) for row in np.argsort(-k_hat) if k_hat[row] > result.good_k]
    refitted = _refit(posterior, as_fitted(posterior, design), doubtful[:_REFITS], progressbar)
    if refitted:
        rows = np.array(list(refitted))
        values, errors = np.transpose(list(refitted.values()))
        log_likelihood.attrs["refitted"] = obs[rows].tolist()
        _compat.replace_rows(result, rows, values, np.where(errors > _MAX_ERROR, k_hat[rows], 0.0))
        doubtful = [row for row in doubtful if row not in refitted or refitted[row][1] > _MAX_ERROR]
    if doubtful:
        labels = quoted(obs[doubtful[:_SHOWN]])
        more = f" and {len(doubtful) - _SHOWN} more" if len(doubtful) > _SHOWN else ""
        warn(
            f"Estimated shape parameter of Pareto distribution (k-hat) is greater than {result.good_k:.2f} for the "
            f"rows labelled {labels}{more}: the other rows say little about them, and their values may be far off."
        )
    return result


def _refit(
    posterior: Posterior, design: Design, doubtful: list[int], progressbar: bool
) -> dict[int, tuple[float, float]]:
    """Log densities of rows, and their standard errors, from fits to all other rows.

    Leaves out rows that the engine cannot refit without, or whose chains fail.
    """
    state, found = posterior.draws.state, {}
    if state is None:
        return {}
    for row in doubtful:
        with suppress(SamplerError):  # the row stays doubtful and is named in the warning
            value = state.refit_without(posterior.draws, design, row, seed=posterior.seed, progressbar=progressbar)
            if value is not None:
                found[row] = value
    return found


def conditional_log_density(posterior: Posterior, design: Design, keep: np.ndarray) -> np.ndarray:
    """Log density of each row given the effects of the kept draws, multiplied by its weight; shape (s, n)."""
    modes = dict.fromkeys((factor.name for factor in design.groups), "error")
    predictors, density = Predictors(posterior, design, modes), np.empty((len(keep), design.n_rows))
    for rows in predictors.chunks(len(keep)):
        eta, auxiliary = predictors.at(rows, keep, "drawn"), predictors.auxiliary(rows, keep)
        density[:, rows] = posterior.family.log_density(design.observed[rows, None], eta, **auxiliary).T
    return _weighted(density, design)


def _weighted(log_density: np.ndarray, design: Design) -> np.ndarray:
    """A row of weight w stands for w equal rows."""
    return log_density if design.weights is None else log_density * design.weights


def _relative_ess(posterior: Posterior, kept: int) -> float:
    """Effective share of the kept draws, averaged over the parameters that are not group effects."""
    draws: Draws = posterior.draws
    found = [convergence(draws.values[name]).ess_bulk.ravel() for name in draws.values if not name.startswith("b_")]
    ess = np.concatenate(found)
    ess = ess[np.isfinite(ess)]
    return float(min(1.0, ess.mean() / kept)) if len(ess) else 1.0
