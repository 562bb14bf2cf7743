"""Default priors: weakly informative, scaled by the data, and stated where the data are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

import numpy as np

from bayesmixed.design.factors import Effects, by_factor
from bayesmixed.design.moments import Moments
from bayesmixed.design.summed.summed import Measured, Named, Summed
from bayesmixed.distributions import HalfNormal, Normal, Prior
from bayesmixed.errors import PriorError, quoted, warn
from bayesmixed.families.base import Family, Response
from bayesmixed.priors.priors import Priors
from bayesmixed.priors.swept import sweep

FAR = 3  # standard deviations between zero and the mean of a slope column before we warn


def response_of(design: Measured, family: Family) -> Response:
    """What a family is told about a design's rows."""
    measured = design.working(family).statistics.common
    (*_, location), (*_, scale) = measured.location_and_scale(design.has_intercept)
    if isinstance(design, Summed):  # families that collapse need no rows
        return Response(np.empty(0), None, None, None, design.has_intercept, float(location), float(scale))
    return Response(
        design.observed,
        design.offset,
        design.weights,
        design.trials,
        design.has_intercept,
        float(location),
        float(scale),
    )


def predictor_scale(design: Measured, family: Family) -> tuple[float, float]:
    """Location and scale of a design's linear predictor, as its family sees them."""
    return family.location_and_scale(response_of(design, family))


def default_priors(
    design: Measured,
    family: Family,
    lkj_eta: float | Mapping[str, float] = 2.0,
    stated: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> Priors:
    """Weakly informative priors scaled by the data.

    Scales of the intercept and the common effects follow rstanarm [1]_. The priors are stated on swept columns
    (`bayesmixed.priors.swept`): under ``x -> c + d x``, d > 0, the model and its draws stay the same if it has an
    intercept and every term with x comes after the terms it contains (``a*x``, ``x + I(x**2)``, ``bs(x)``; likewise
    left of a bar whose effects correlate). They do not for ``0 + x``, ``(0 + x | g)``, ``||`` and
    ``(1 | g) + (0 + x | g)``, where zero is meaningful, nor when the user states priors on what moves. A power of
    c + d x, or a product of such columns, has already lost digits to what it contains: c^2 of a double's 16 for a
    square at c sds from zero. If less than 1e-7 of such a column is left, it is fitted unswept, with a warning.

    Parameters
    ----------
    design : Design or Summed
        With a response.
    family : Family
    lkj_eta : float or dict by factor, default=2.0
    stated : dict of str to collection of str
        What the user states priors for: labels under ``"beta"``, including ``"Intercept"``, effects under their factor.
        These are not swept out of other columns, so that such a prior is one of the coefficient as written.

    Returns
    -------
    Priors

    Raises
    ------
    PriorError
        `lkj_eta` is not a positive number, or names an unknown factor.

    Warns
    -----
    UserWarning
        The column of a group slope that is not swept of the group intercept is far from zero.

    References
    ----------
    .. [1] Goodrich, Gabry, Ali & Brilleman, Prior distributions for rstanarm models (package vignette).
    """
    names, users = design.common_names, stated.get("beta", ())
    response = response_of(design, family)
    location, scale = family.location_and_scale(response)
    common = sweep(
        design.statistics.common.select(slice(len(names))),
        design.contains or [()] * len(names),
        design.common_terms or names,
        centred=design.has_intercept,
        of_intercept=design.has_intercept and "Intercept" not in users,
        kept={at for at, name in enumerate(names) if name in users},
    )
    group_sd, group_swept = {}, {}
    for f, factor in enumerate(design.groups):
        of_effects, is_binary = design.statistics.effects[f], design.statistics.is_binary[f]
        default = _default_sds(factor, of_effects, is_binary, scale, stated.get(factor.name, ()))
        group_sd[factor.name], group_swept[factor.name] = default
    return Priors(
        intercept=Normal(location, 2.5 * scale) if design.has_intercept else None,
        common={name: Normal(0.0, float(2.5 * scale / s)) for name, s in zip(names, common.scale, strict=True)},
        group_sd=group_sd,
        lkj_eta=resolve_eta(lkj_eta, design),
        auxiliary=family.auxiliary_priors(scale, response),
        swept=common.entries(names),
        group_swept={name: swept for name, swept in group_swept.items() if swept},
        threshold=family.threshold,
    )


def _default_sds(
    factor: Effects, measured: Moments, is_binary: np.ndarray, y_scale: float, stated: Collection[str]
) -> tuple[dict[str, Prior], dict[str, dict[str, float]]]:
    """Priors of a factor's sds, and how its correlated blocks are swept."""
    names = np.array(factor.effect_names)
    centred = "Intercept" in factor.effect_names
    scale, of_intercept, undetermined = np.ones(len(names)), *np.zeros((2, len(names)), dtype=bool)
    swept: dict[str, dict[str, float]] = {}
    for block in factor.blocks:
        slopes = [at for at in block if names[at] != "Intercept"]
        has_intercept = len(slopes) < len(block)
        own = sweep(
            measured.select(slopes),
            [[slopes.index(other) for other in factor.contains[at] if other in slopes] for at in slopes],
            [factor.effect_terms[at] for at in slopes],
            # an intercept in another bar absorbs what a slope adds at its mean, so slopes are scaled by sds
            centred=centred,
            of_intercept=has_intercept and "Intercept" not in stated,
            kept=[at for at, slope in enumerate(slopes) if names[slope] in stated],
        )
        scale[slopes], undetermined[slopes] = own.scale, own.undetermined
        of_intercept[slopes] = has_intercept and "Intercept" not in stated
        swept |= own.entries([str(name) for name in names[slopes]])
    at_zero = ~of_intercept & ~undetermined & (names != "Intercept")
    if np.any(far := far_slopes(measured, is_binary, factor) & at_zero):
        warn(
            f"grouping factor {factor.name!r}: the mean of {quoted(names[far])} is more than "
            f"{FAR} standard deviations from zero, so the group intercepts describe a point far outside the data. "
            "Centring helps both reader and sampler: write center(x) for x, or subtract a meaningful value."
        )
    # where a slope is not swept of it, the group intercept has to absorb what the slope adds between its mean and zero
    inflation = np.sqrt(1 + np.sum(np.square(measured.mean[at_zero] / scale[at_zero])))
    scale = np.where(names == "Intercept", 1 / inflation, scale)
    sds: dict[str, Prior] = {str(n): HalfNormal(float(2.5 * y_scale / s)) for n, s in zip(names, scale, strict=True)}
    return sds, swept


def far_slopes(measured: Moments, is_binary: np.ndarray, factor: Effects, far: float = FAR) -> np.ndarray:
    """Which slope columns next to a group intercept have their mean more than `far` sds from zero; bool (q,).

    A column of zeros and ones is never far: zero is one of its values.

    Parameters
    ----------
    measured : Moments
        Of the factor's columns, perhaps swept.
    is_binary : numpy.ndarray of bool, shape (q,)
        Which columns, as written, hold only zeros and ones.
    factor : Effects
    far : float, default=3
    """
    if "Intercept" not in factor.effect_names:
        return np.zeros(len(factor.effect_names), dtype=bool)
    mean, scale = measured.location_and_scale(centred=True)
    return (np.abs(mean) > far * scale) & ~is_binary


def resolve_eta(lkj_eta: float | Mapping[str, float], design: Named) -> dict[str, float]:
    """Shape of the LKJ prior of every factor that has one.

    Raises
    ------
    PriorError
        A value is not a positive number, or a name is not a factor's.
    """
    factors = [factor.name for factor in design.groups]
    etas = dict.fromkeys(factors, 2.0) | by_factor(lkj_eta, factors, "lkj_eta", PriorError)
    for eta in etas.values():
        if not isinstance(eta, (int, float, np.number)) or isinstance(eta, bool) or not 0 < eta < np.inf:
            raise PriorError(f"lkj_eta must be a positive number or a dict of such numbers by factor, got {lkj_eta!r}.")
    return {factor.name: float(etas[factor.name]) for factor in design.groups if factor.pairs}
