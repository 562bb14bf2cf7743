"""What a fitted estimator saves, and how it is restored."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from bayesmixed.design.spec import DesignSpec
from bayesmixed.design.summed.running import Running
from bayesmixed.design.summed.summed import Summed
from bayesmixed.estimators.inputs import Rows
from bayesmixed.estimators.labels import check_given
from bayesmixed.posterior.draws import Draws
from bayesmixed.posterior.posterior import Model, Posterior

_PACKAGE = __name__.partition(".")[0]
_OF_FIT = ("family", "spec", "draws", "seed", "priors", "rows", "statistics")
PARTS = ("params", *_OF_FIT, "n_features_in", "feature_names_in")

_Estimator = TypeVar("_Estimator", bound="Storage")


class Storage:
    """One file for an estimator that holds a `Posterior` and its `Rows`."""

    n_features_in_: int
    _posterior: Posterior
    _rows: Rows
    _summed: Running[Summed] | None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to one file, to be read by `bayesmixed.load`.

        The file holds numbers and text, no code: a zip of a JSON document and NumPy arrays. It can be read with other
        versions of Python, PyMC and ArviZ.

        Parameters
        ----------
        path : path-like
            An existing file is replaced when the new one is complete.

        Raises
        ------
        TypeError
            For a parameter that a file cannot hold, or a subclass, which `bayesmixed.load` would not know.
        OSError
            If the path cannot be written to.

        Notes
        -----
        A `random_state` that is a generator is saved as the seed that the fit drew from it, `classes` as a tuple.

        Examples
        --------
        >>> import tempfile, bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=0).fit(df, df["Reaction"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     est.save(f"{folder}/sleepstudy.bm")
        ...     loaded = bm.load(f"{folder}/sleepstudy.bm")
        >>> bool((loaded.predict(df) == est.predict(df)).all())
        True
        """
        from bayesmixed.estimators import archive  # noqa: PLC0415 - knows what every engine stores

        check_is_fitted(self)
        ours = [cls for cls in type(self).__mro__ if cls.__module__.partition(".")[0] == _PACKAGE]
        if type(self) is not ours[0]:
            raise TypeError(
                f"{type(self).__name__} is a subclass of {ours[0].__name__}, and a file cannot hold its code; use "
                "pickle or joblib."
            )
        posterior = self._posterior
        params = self.get_params(deep=False)  # type: ignore[attr-defined]
        if not isinstance(params["random_state"], (int, np.integer, type(None))):
            params["random_state"] = posterior.seed
        if params.get("classes") is not None:  # only labels: a file cannot hold an Index, or a range with a step
            params["classes"] = check_given(params["classes"])
        names = getattr(self, "feature_names_in_", None)
        names = vars(self).get("_other_names") if names is None else list(names)  # a tuple, or a list
        tree = {
            "params": params,
            "family": posterior.family,
            "spec": posterior.spec.state,
            "draws": _with_means(posterior.draws),
            "seed": posterior.seed,
            "priors": posterior.model.priors,
            "rows": self._rows,
            "statistics": None if self._summed is None else self._summed.total.state,
            "n_features_in": self.n_features_in_,
            "feature_names_in": names,
        }
        archive.write(path, type(self).__name__, tree)


def _with_means(draws: Draws) -> Draws:
    """Add the means of effects that are not stored: every prediction needs them, and computing them takes seconds."""
    return replace(draws, means=draws.means | {f"b_{name}": source.mean for name, source in draws.lazy.items()})


def restore(cls: type[_Estimator], tree: dict[str, Any]) -> _Estimator:
    """Build the saved estimator, fitted, from the contents of the file.

    Raises
    ------
    FormulaError
        If it has a spline from a version of formulae in which ``bs`` means something else.
    """
    est: Any = cls(**tree["params"])
    est.n_features_in_ = tree["n_features_in"]
    if isinstance(names := tree["feature_names_in"], tuple):  # texts of names that are not text
        est._other_names = names
    elif names is not None:
        est.feature_names_in_ = np.array(names, dtype=object)
    model = Model(DesignSpec.from_state(tree["spec"]), tree["family"], tree["priors"])
    summed = None if tree["statistics"] is None else Summed.from_state(tree["statistics"])
    posterior = Posterior(model, tree["draws"], tree["seed"])
    fitted: _Estimator = est._keep(posterior, tree["rows"], summed)
    return fitted
