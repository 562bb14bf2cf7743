"""Which factors are large, and what is beyond the sampler: all that is asked before it runs."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np

from bayesmixed.chunks import allowed
from bayesmixed.design.statistics import CrossProducts
from bayesmixed.design.summed.summed import Measured, Named
from bayesmixed.errors import quoted
from bayesmixed.gaussian.first_factor import Kinds
from bayesmixed.gaussian.statistics import is_nested
from bayesmixed.priors.priors import Priors
from bayesmixed.sampling.gibbs.constants import MAX_DIMENSION, NESTED, SHARED
from bayesmixed.sampling.shared import not_normal


def split(n_effects: tuple[int, ...], n_levels: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Large factors, the largest last, and small ones, which together have at most `SHARED` effects."""
    size = [q * J for q, J in zip(n_effects, n_levels, strict=True)]
    order = sorted(range(len(size)), key=lambda f: (size[f], f))
    few = int(np.searchsorted(np.cumsum([size[f] for f in order[:-1]]), SHARED, side="right"))
    return tuple(order[few:]), tuple(sorted(order[:few]))


def prior_in_the_way(priors: Priors) -> str:
    """Why the priors prevent effects from being drawn exactly; empty if they do not."""
    found = not_normal(priors)
    return f"common effects need Normal priors to be drawn exactly; found {found}" if found else ""


def too_large(design: Named, draws: int, statistics: CrossProducts | None = None) -> str:
    """Why a run of so many draws is beyond the sampler; empty if it is not, as far as can be told yet."""
    n_effects = tuple(len(factor.effect_names) for factor in design.groups)
    large, small = split(n_effects, tuple(len(factor.levels) for factor in design.groups))
    own = [len(factor.effect_names) + len(factor.pairs) for factor in design.groups]
    dimension = max(own[f] for f in large) + sum(own[f] for f in small)
    if dimension > MAX_DIMENSION:
        return f"one update would have {dimension} standard deviations and correlations, more than {MAX_DIMENSION}"
    effects = sum(n_effects[f] * len(design.groups[f].levels) for f in large[:-1])
    if effects * draws > allowed().kept:
        names = quoted(design.groups[f].name for f in large[:-1])
        return f"{draws:,} draws of the {effects:,} effects of {names} must all be kept and would take too much memory"
    if statistics is None:
        return ""
    shared = len(statistics.VV) + sum(n_effects[f] * len(design.groups[f].levels) for f in small)
    for f in large:
        h, U = Kinds.of(statistics.S[f]).S.shape
        if (products := shared * (shared + 1) // 2 * h * U) > allowed().products:
            name = design.groups[f].name
            return f"the groups of {name!r} differ so much that {products:.1e} cross-products would have to be kept"
    return ""


def is_large_crossed(design: Measured) -> bool:
    """Whether the sampler is faster than a dense elimination of all factors other than the largest, and as good.

    That is so if these have many effects, unless all factors are nested; it takes more effects if a large factor is
    nested in another, as a sweep then takes longer.
    """
    groups = design.groups
    sizes = [len(factor.effect_names) * len(factor.levels) for factor in groups]
    beside = sum(sizes) - max(sizes, default=0)
    if beside <= SHARED:
        return False
    products = design.statistics.products
    by_levels = sorted(range(len(groups)), key=lambda f: -len(groups[f].levels))
    if all(is_nested(products, f, g) for f, g in pairwise(by_levels)):
        return False
    large, _ = split(
        tuple(len(factor.effect_names) for factor in groups), tuple(len(factor.levels) for factor in groups)
    )
    nested = any(is_nested(products, f, g) for f, g in permutations(large, 2))
    return not nested or beside > NESTED
