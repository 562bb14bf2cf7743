"""The only file that knows PyMC 5 from 6 and ArviZ 0.x from 1.x; it loads neither before a function asks."""

from __future__ import annotations

import multiprocessing
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr


def import_arviz() -> Any:
    """Import ArviZ without its 0.x announcement of a refactoring."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*ArviZ is undergoing a major refactor", category=FutureWarning)
        import arviz
    return arviz


def import_pymc() -> Any:
    """Import PyMC, and with it ArviZ."""
    import_arviz()
    import pymc

    return pymc


def dataset(container: Any, group: str | None) -> xr.Dataset:
    """One group of an InferenceData (ArviZ 0.x) or DataTree (ArviZ 1.x), or one taken out already, as a Dataset."""
    import xarray as xr

    node = container if group is None else container[group]
    return node if isinstance(node, xr.Dataset) else node.to_dataset()


def container(groups: dict[str, xr.Dataset], attrs: dict[str, Any]) -> Any:
    """Put datasets into ArviZ's container: InferenceData with ArviZ 0.x, DataTree with 1.x."""
    arviz = import_arviz()
    if int(arviz.__version__.split(".")[0]) == 0:
        return arviz.InferenceData(**groups, attrs=attrs)
    import xarray as xr

    tree = xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})
    tree.attrs.update(attrs)
    return tree


def run_nuts(model: Any, *, backend: str, target_accept: float, **settings: Any) -> Any:
    """Sample a ``pm.Model`` with the named implementation of NUTS; the same call on PyMC 5 and 6.

    Parameters
    ----------
    model : pymc.Model
    backend : {"pymc", "nutpie", "numpyro", "blackjax"}
    target_accept : float
    **settings
        draws, tune, chains, cores, random_seed, progressbar of ``pymc.sample``.

    Returns
    -------
    arviz.InferenceData or xarray.DataTree
    """
    pymc = import_pymc()
    with warnings.catch_warnings():
        # a slower linear algebra is no reason to alarm a user who installed with pip
        warnings.filterwarnings("ignore", message="(?s).*could not link to a BLAS", category=UserWarning)
        # JAX's samplers announce their own internals
        if backend in ("numpyro", "blackjax"):
            warnings.filterwarnings("ignore", category=UserWarning)
            warnings.filterwarnings("ignore", category=FutureWarning)
        return pymc.sample(
            model=model,
            nuts_sampler=backend,
            target_accept=target_accept,
            compute_convergence_checks=False,
            quiet=not settings["progressbar"],
            **settings,
        )


def resolve_cores(cores: int | None, chains: int) -> int:
    """Processes for `chains` chains: 1 inside a joblib worker or a daemon, where more would fail or crowd.

    Parameters
    ----------
    cores : int or None
        The user's wish; None leaves it to us.
    chains : int
    """
    from joblib.parallel import cpu_count, get_active_backend

    nested = get_active_backend()[0].nesting_level or 0
    if multiprocessing.current_process().daemon or nested > 0:
        return 1
    return min(chains, cores or cpu_count())


def is_installed(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    from importlib.util import find_spec

    return find_spec(package) is not None


def as_float(values: Any) -> np.ndarray:
    """Copy a DataArray's values to float64."""
    return np.array(values, dtype=np.float64)
