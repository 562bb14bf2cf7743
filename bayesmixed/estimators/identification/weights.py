"""Warn of frequency weights that add up to fewer rows than the model has parameters."""

from __future__ import annotations

from bayesmixed.design.summed.summed import Measured, Summed
from bayesmixed.errors import warn
from bayesmixed.families.base import Family


def warn_few_rows(design: Measured, family: Family) -> None:
    """Warn of weights that are probably not counts, such as those that add up to one.

    Parameters
    ----------
    design : Design or Summed
        The rows of a fit.
    family : Family

    Warns
    -----
    UserWarning
        The weights add up to less than the number of rows and than the number of parameters: intercept, common effects,
        standard deviations, correlations, auxiliary parameters.
    """
    if isinstance(design, Summed):
        total = design.sums.products.n
    elif design.weights is None:
        return
    else:
        total = float(design.weights.sum())
    of_groups = sum(len(factor.effect_names) + len(factor.pairs) for factor in design.groups)
    parameters = design.has_intercept + len(design.common_names) + of_groups + len(family.auxiliary)
    if total < min(parameters, design.n_rows):  # whole counts add up to at least the number of rows
        warn(
            f"sample_weight adds up to {total:.4g}, less than the number of parameters ({parameters}): weights are "
            f"frequencies, so these {design.n_rows} rows count as {total:.4g} and the priors dominate. If they are "
            "relative, rescale them to add up to the number of rows (weights / weights.mean()). Weights that stand for "
            "precisions are not supported."
        )
