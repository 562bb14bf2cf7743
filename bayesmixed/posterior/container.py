"""Turn draws into ArviZ's container, labelled by the naming contract; nothing is computed here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesmixed._compat import container as arviz_container
from bayesmixed._compat import dataset, imports_uncollected
from bayesmixed.design.labels import label_key, label_text
from bayesmixed.design.spec import DesignSpec
from bayesmixed.errors import FormulaError, quoted
from bayesmixed.families.base import Family
from bayesmixed.posterior.draws import CONTRACT_VERSION, Draws, coordinates, layout
from bayesmixed.posterior.posterior import Posterior

if TYPE_CHECKING:
    import xarray as xr

RESERVED = ("Intercept", "chain", "draw", "obs", "common_effect")


def check_columns(columns: Iterable[str]) -> None:
    """Reject a formula that uses a column whose name means something else in the posterior.

    Raises
    ------
    FormulaError
    """
    if taken := [name for name in columns if name in RESERVED]:
        raise FormulaError(
            f"the formula uses {quoted(taken)}, a name with another meaning in the posterior; rename the column, for "
            f"example X.rename(columns={{{taken[0]!r}: {taken[0] + '_'!r}}})."
        )


def check_names(spec: DesignSpec, family: Family) -> None:
    """Reject a grouping factor whose variables or dims would clash with others in the posterior.

    Raises
    ------
    FormulaError
        Also for a name with a slash, which netCDF and PyMC read as a path, and for a model with thresholds in place of
        an intercept whose formula removes the intercept.
    """
    if family.threshold and not spec.has_intercept:
        raise FormulaError(
            f"family={family.name!r} has thresholds in place of an intercept, so columns are coded as if there were "
            "one; write the formula without '0 +' or '- 1'."
        )
    first, last = family.variables(spec.has_intercept)
    own = [*first, *last, *family.coordinates, *dict.fromkeys(name.partition("[")[0] for name in family.auxiliary)]
    mine = {
        factor.name: [factor.name, *(f"{factor.name}_{of}" for of in ("effect", "pair"))]
        + [f"{stem}_{factor.name}" for stem in ("sd", "corr", "b")]
        for factor in spec.groups
    }
    names = Counter(
        [*dict.fromkeys((*RESERVED, "beta", "y", *own)), *(name for some in mine.values() for name in some)]
    )
    for factor in spec.groups:
        if clash := [name for name in mine[factor.name] if names[name] > 1 or "/" in name]:
            raise FormulaError(
                f"grouping factor {factor.name!r} would add {quoted(clash)} to the posterior, a name that is taken "
                f"or cannot be stored; rename the column {quoted(factor.factor_levels.columns)}."
            )


def container(
    posterior: Posterior,
    observed: tuple[np.ndarray, np.ndarray] | None,
    *,
    group: str = "posterior",
    predictive: xr.DataArray | None = None,
) -> Any:
    """Assemble the container of the posterior, or of the prior.

    Parameters
    ----------
    posterior : Posterior
    observed : tuple of numpy.ndarray of shape (n,), or None
        A response and the labels of its rows.
    group : {"posterior", "prior"}, default="posterior"
    predictive : xarray.DataArray of dims (chain, draw, obs), optional
        Draws of the response.

    Returns
    -------
    arviz.InferenceData (ArviZ 0.x) or xarray.DataTree (ArviZ 1.x)
        Groups ``posterior``, ``sample_stats``, ``observed_data``, or those requested. Effects too many to store are
        absent; ``posterior.attrs["bayesmixed_lazy"]`` lists their factors.
    """
    with imports_uncollected():
        import xarray as xr  # noqa: PLC0415

    draws, spec = posterior.draws, posterior.spec
    chains, n_draws = draws.shape
    sample = {"chain": np.arange(chains), "draw": np.arange(n_draws)}
    attrs = {"bayesmixed_schema": CONTRACT_VERSION}
    variables = {name: dims for name, dims in layout(spec, posterior.family).items() if name in draws.values}
    groups = {
        group: xr.Dataset(
            # copies: editing the container must not edit the fit
            {name: (("chain", "draw", *dims), draws.values[name].copy()) for name, dims in variables.items()},
            coords=sample | coordinates(spec, posterior.family),
            attrs=attrs | ({"bayesmixed_lazy": list(draws.lazy)} if draws.lazy else {}),
        )
    }
    if draws.sample_stats:
        stats = {name: (("chain", "draw"), values.copy()) for name, values in draws.sample_stats.items()}
        groups["sample_stats"] = xr.Dataset(stats, coords=sample)
    if predictive is not None:
        groups[f"{group}_predictive"] = predictive.to_dataset(name="y")
    if observed is not None:
        y, obs = observed
        groups["observed_data"] = xr.Dataset({"y": (("obs",), y.copy())}, coords={"obs": obs})
    return arviz_container(groups, attrs)


def group_effects(draws: Draws, spec: DesignSpec, factor: str, levels: Any = None) -> xr.DataArray:
    """Group effects of some levels of a factor, stored or not, labelled.

    Raises
    ------
    ValueError
        For an unknown factor or level.
    """
    import xarray as xr  # noqa: PLC0415

    labels = spec.group(factor).levels
    if levels is not None and (isinstance(levels, str) or not np.iterable(levels)):
        raise ValueError(f"levels must be a list of labels of {factor!r}, or None for all, got {levels!r}.")
    position = {label_key(label): at for at, label in enumerate(labels)}
    wanted = [
        label_text(label) if isinstance(label, tuple) else label for label in (labels if levels is None else levels)
    ]
    if unknown := [label for label in wanted if label_key(label) not in position]:
        known = quoted(labels.astype(str) if labels.dtype.kind == "M" else labels)
        raise ValueError(f"grouping factor {factor!r} has no level {quoted(unknown)}; it has {known}.")
    at = np.array([position[label_key(label)] for label in wanted], dtype=int)
    effects = draws.effects(factor, at).reshape(*draws.shape, len(at), -1)
    effect = f"{factor}_effect"
    coords = {"chain": np.arange(draws.shape[0]), "draw": np.arange(draws.shape[1])}
    coords |= {factor: labels[at], effect: np.asarray(spec.group(factor).effect_names)}
    return xr.DataArray(effects, coords, ("chain", "draw", factor, effect), name=f"b_{factor}")


def split_group_effects(idata: Any) -> xr.Dataset:
    """The posterior with one variable per group effect, so that a compact trace plot shows them separately.

    Parameters
    ----------
    idata : arviz.InferenceData, xarray.DataTree or xarray.Dataset
        The ``idata_`` of a fit, or its posterior.

    Returns
    -------
    xarray.Dataset
        ``b_Subject`` (Subject, Subject_effect) becomes ``b_Subject_Intercept`` and ``b_Subject_Days``
        (Subject); likewise ``sd_Subject``. Everything else stays as it is; effects too many to store stay absent.

    Examples
    --------
    >>> import bayesmixed as bm
    >>> df = bm.datasets.load_sleepstudy()
    >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0).fit(df, df["Reaction"])
    >>> list(split_group_effects(est.idata_))[2:5]
    ['b_Subject_Intercept', 'b_Subject_Days', 'sd_Subject_Intercept']
    """
    posterior = dataset(idata, "posterior" if "posterior" in idata else None)
    split: dict[str, Any] = {}
    for name, values in posterior.data_vars.items():
        # b_<factor> and sd_<factor> end in the dim <factor>_effect
        dim = next((d for d in values.dims[-1:] if d == f"{str(name).partition('_')[2]}_effect"), None)
        effects = [None] if dim is None else values[dim].values.tolist()
        for effect in effects:
            # a slash cannot be part of a variable's name
            part = str(name) if effect is None else f"{name}_{effect}".replace("/", "_")
            if part in split:
                raise ValueError(f"two variables would be called {part!r}; rename one of the formula's columns.")
            split[part] = values if effect is None else values.sel({dim: effect}, drop=True)
    return posterior.__class__(split, attrs=posterior.attrs)
