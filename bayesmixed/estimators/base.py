"""What all estimators share: the contract with scikit-learn and the order of the steps; no maths."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from bayesmixed.design.factors import GROUP_PRIORS
from bayesmixed.design.frames import as_numbers, read_response, row_labels
from bayesmixed.design.spec import DesignSpec
from bayesmixed.design.summed.running import Running
from bayesmixed.design.summed.summed import Measured, Summed
from bayesmixed.errors import FormulaError
from bayesmixed.estimators import after_fit
from bayesmixed.estimators.display import Display
from bayesmixed.estimators.inputs import Rows, as_frame, fitted_rows, learn, read_weights, rows_that_count
from bayesmixed.estimators.predictions import Predictions
from bayesmixed.estimators.storage import Storage
from bayesmixed.estimators.summaries import Summaries
from bayesmixed.estimators.summed.fitting import chunked, sum_for_fit
from bayesmixed.estimators.summed.increments import Increments
from bayesmixed.estimators.summed.learning import learn_sums, require_rows
from bayesmixed.estimators.summed.statistics import SufficientStatistics
from bayesmixed.families.base import Family
from bayesmixed.formula.parse import parse
from bayesmixed.posterior.posterior import Model, Posterior
from bayesmixed.prediction.new_groups import MODES, resolve_modes
from bayesmixed.priors.priors import Priors
from bayesmixed.priors.resolve import resolve_priors
from bayesmixed.sampling.choose import SAMPLERS, sample
from bayesmixed.sampling.engine import Settings
from bayesmixed.sampling.nuts.engine import BACKENDS
from bayesmixed.sampling.nuts.pymc_model import build_model

if TYPE_CHECKING:
    import pandas as pd
    import pymc as pm


CONSTRAINTS: dict[str, list] = {  # of the parameters that all estimators have
    "formula": [str, None],
    "family": [str],
    "link": [str, None],
    "group_prior": [StrOptions(set(GROUP_PRIORS)), dict],
    "lkj_eta": [Interval(Real, 0, None, closed="neither"), dict],
    "priors": [dict, Priors, None],
    "sampler": [StrOptions(set(SAMPLERS))],
    "draws": [Interval(Integral, 1, None, closed="left")],
    "chains": [Interval(Integral, 1, None, closed="left")],
    "tune": [Interval(Integral, 0, None, closed="left")],
    "target_accept": [Interval(Real, 0, 1, closed="neither")],
    "cores": [Interval(Integral, 1, None, closed="left"), None],
    "nuts_backend": [StrOptions(set(BACKENDS)), None],
    "new_groups": [StrOptions(set(MODES)), dict],
    "random_state": ["random_state"],
    "progressbar": ["boolean"],
}


class MixedModel(Predictions, Summaries, Storage, Display, Increments, BaseEstimator):
    """Base of the estimators: a subclass adds its own parameters and what scikit-learn requires of its kind."""

    trials: str | None = None
    categories: dict[str, Any] | None = None

    def __new__(cls, *args: Any, **parameters: Any) -> Self:
        # a parameter that other classifiers have; with a docstring, pdoc would take this for the constructor
        if "class_weight" in parameters:
            raise TypeError(
                f"{cls.__name__} has no class_weight: class weights would distort the predicted probabilities. Fit "
                "without them and choose a threshold (scikit-learn's TunedThresholdClassifierCV); if a row stands for "
                "several, pass sample_weight to fit."
            )
        return super().__new__(cls)

    def __init__(
        self,
        formula: str | None,
        family: str,
        link: str | None,
        *,
        group_prior: str | dict[str, str],
        lkj_eta: float | dict[str, float],
        priors: dict[str, Any] | Priors | None,
        sampler: str,
        draws: int,
        chains: int,
        tune: int,
        target_accept: float,
        cores: int | None,
        nuts_backend: str | None,
        new_groups: str | dict[str, str],
        random_state: Any,
        progressbar: bool,
    ) -> None:
        self.formula = formula
        self.family = family
        self.link = link
        self.group_prior = group_prior
        self.lkj_eta = lkj_eta
        self.priors = priors
        self.sampler = sampler
        self.draws = draws
        self.chains = chains
        self.tune = tune
        self.target_accept = target_accept
        self.cores = cores
        self.nuts_backend = nuts_backend
        self.new_groups = new_groups
        self.random_state = random_state
        self.progressbar = progressbar

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Draw from the posterior.

        Parameters
        ----------
        X : DataFrame or array of shape (n, k), source of rows, or SufficientStatistics
            With a formula, a DataFrame (pandas, polars or any other that narwhals reads) with the formula's columns,
            grouping factors included. Or, with a two-sided formula, rows that are not in memory; they are read in
            chunks, and only sums over them are kept: Parquet files (a path, a list of paths, a folder); a Dask
            DataFrame, which Dask's workers sum; a polars LazyFrame, a DuckDB relation, an Ibis table, a pyarrow dataset
            or `RecordBatchReader`, or anything else with ``__arrow_c_stream__``; an iterable of frames, or a callable
            that returns one: see `SufficientStatistics.of`. Or sufficient statistics for the same formula and family,
            which already contain `y` and `sample_weight`.
        y : array-like of shape (n,), optional
            The response. With a two-sided formula, None takes the left-hand column of X; a given y takes precedence.
        sample_weight : str or array-like of shape (n,), optional
            Frequency weights: a row of weight 2 counts as two equal rows, one of weight 0 not at all. Or, with a
            formula, the name of the column of X that holds them. Transformations that learn from the data (``scale``,
            ``bs``, ...) count each row once if weights are not whole numbers or add up to more than ten million.

        Returns
        -------
        self

        Raises
        ------
        FormulaError
            If the formula cannot be parsed or does not fit the columns.
        ValueError
            For missing or infinite values (the message gives the column and how many), and for a response that is
            constant or of the wrong kind: regressors need numbers, classifiers labels. For rows that are not in memory,
            also if the family is not "gaussian" or "lognormal", if there are fewer rows than their metadata say, and if
            they have changed when they are read again; such an error names the chunk and the row. After any error, an
            estimator that was already fitted is unchanged.
        SamplerError
            If the requested sampler does not support the model; for rows that are not in memory, if the sampler or a
            prior needs them all.

        Warns
        -----
        ConvergenceWarning
            If the draws cannot be trusted yet; names causes and remedies.
        UserWarning
            For categories, columns or weights that may not be what was meant.
        """
        if isinstance(X, SufficientStatistics):
            if y is not None or sample_weight is not None:
                raise ValueError("the statistics already contain y and sample_weight; call fit(statistics).")
            return self._fit_sums(X)
        if (source := chunked(X, self.formula)) is not None:
            return self._fit_sums(*sum_for_fit(self, source, y, sample_weight))
        learned = learn(self, X, y, sample_weight, reset=True)
        model = self._model(learned.model, learned.design)
        posterior = self._sample(model, learned.design, self._draw_seed())
        self.__dict__.pop("_seed", None)  # from rows that were added before
        return self._keep(posterior, learned.rows, learned.summed if posterior.draws.state is not None else None)

    def _fit_sums(self, statistics: Summed, columns: Sequence[Any] | None = None) -> Self:
        """`fit` to rows that were summed; `columns` are those of their source, if there is one."""
        summed = learn_sums(self, statistics)
        model = self._model((summed.spec, summed.family), summed)
        posterior = self._sample(model, summed, self._draw_seed())
        names = columns or [name for name in summed.spec.columns or () if name != summed.spec.response]
        self.n_features_in_ = len(names)
        self.__dict__.pop("feature_names_in_", None)
        if all(isinstance(name, str) for name in names):
            self.feature_names_in_ = np.array(names, dtype=object)
        self.__dict__.pop("_seed", None)
        return self._keep(posterior, Rows.of_sums(summed), statistics)

    def _draw_seed(self) -> int:
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _sample(self, model: Model, data: Measured, seed: int) -> Posterior:
        """Draw from the posterior of a model."""
        resolve_modes(self.new_groups, model.spec)  # an invalid one fails before the work starts
        settings = Settings(
            sampler=self.sampler,
            draws=self.draws,
            chains=self.chains,
            seed=seed,
            progressbar=self.progressbar,
            tune=self.tune,
            target_accept=self.target_accept,
            cores=self.cores,
            backend=self.nuts_backend,
        )
        return Posterior(model, sample(model, data, settings), seed)

    def condition(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from new rows, of known or new groups, without fitting again.

        The result is the posterior given all rows so far; priors, the point at which they are stated and the
        transformations of columns stay those of the first fit. The draws of the covariances and sigma are weighted by
        the density of the new rows with all effects integrated out, and the effects are drawn anew. If the weights are
        too uneven, the sampler runs on the merged sufficient statistics instead: ``diagnostics_["reason"]`` says which,
        and ``diagnostics_["k_hat"]`` is the Pareto k-hat of the weights, or of the sampler. Without groups, independent
        draws are made anew. After a fit by the transport sampler, rows of known groups also weight the draws of the
        effects; rows of new groups make it sample again from all rows, which it has kept: its chains continue from
        where they ended, or start afresh if the new rows have moved the posterior far. The gibbs sampler samples again
        from the merged statistics; if factors become nearly nested only through the new rows, the step for such factors
        is skipped, as it needs the first fit's rows, and the chains may not agree.

        Parameters
        ----------
        X : DataFrame or array of shape (n, k)
            At least one row. New labels become levels after those of the fit; missing labels are an error.
        y : array-like of shape (n,), optional
            The response; with a two-sided formula, None takes the left-hand column of X.
        sample_weight : str or array-like of shape (n,), optional
            Frequency weights, as in `fit`.

        Returns
        -------
        MixedModel
            A new fitted estimator that can do everything a fitted one can, including `condition`; this one is
            unchanged.

        Raises
        ------
        FormulaError
            If a column is missing, or a level of a common effect is new.
        ValueError
            For missing values, or labels of another type than the fitted ones.
        SamplerError
            If the fit was made by NUTS, or its sampler does not support the model of all rows.

        Warns
        -----
        ConvergenceWarning
            If the draws cannot be trusted yet.

        References
        ----------
        Vehtari, Simpson, Gelman, Yao & Gabry (2024), Pareto smoothed importance sampling, Journal of Machine Learning
        Research 25(72), for k-hat.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> known, new = df[df["Subject"] != 335], df[df["Subject"] == 335]
        >>> est = bm.MixedModelRegressor("Reaction ~ Days + (Days | Subject)", random_state=0).fit(known)
        >>> updated = est.condition(new.head(3))
        >>> bool(updated.score(new.tail(7)) > est.score(new.tail(7)))
        True
        """
        check_is_fitted(self)
        require_rows(X, "condition")
        frame = as_frame(self, X, self.design_spec_.columns, reset=False)
        y = read_response(frame, y, self.design_spec_.response, type(self).__name__)
        obs, weights = row_labels(X, start=self._rows.n_rows), read_weights(X, sample_weight, self.design_spec_.formula)
        frame, column, weights, obs = rows_that_count(obs, frame, y, weights)
        response = self._read_response(column)
        posterior, design, summed = after_fit.condition(
            self._posterior, frame, response, weights, progressbar=self.progressbar
        )
        every = None if summed is None else self._sums_with(summed, (frame, column, weights))
        return copy(self)._keep(posterior, self._rows + Rows.of(design, obs, summed), every)

    def loo(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Estimate how well new rows of the same kind are predicted, by leaving out each row of the fit in turn.

        Parameters
        ----------
        X, y, sample_weight
            The rows of the fit; in the same order for all models that are compared, as ArviZ pairs rows by position.
            After `condition`, the rows of the fit and of `condition`, in one frame.

        Returns
        -------
        arviz.ELPDData
            For ``az.compare({"a": a.loo(X, y), "b": b.loo(X, y)})``. Its attribute ``log_likelihood`` (which copies and
            pickles may lose) is the pointwise log likelihood (chain, draw, obs), whose ``attrs`` say what it may be
            used for. After a fit by the collapsed sampler, group and common effects are integrated out, which is valid
            for LOO but not for WAIC (and ``p_loo`` counts only covariances and sigma); likewise after the transport
            sampler, which approximates the other rows by a Gaussian. After the gibbs sampler, it is conditional on the
            drawn effects of all large factors but the largest, and the other effects are integrated out; after NUTS, it
            is conditional on all effects. A row of weight w stands for w equal rows, which are left out together.

        Raises
        ------
        ValueError
            If these are not the rows of the fit, or there are fewer than 25 draws.

        Warns
        -----
        UserWarning
            Names the rows whose Pareto k-hat is too large (above ``good_k``, 0.7) for their values to be reliable, and
            for which a fit without them did not help.

        Notes
        -----
        All draws are used up to 5,000 rows (20 million numbers), then fewer, evenly thinned, down to 400.

        Rows whose Pareto k-hat is too large, at most the ten with the largest, are each left out of a new fit if the
        fit was made by the transport sampler: the chains continue from where they ended, which takes about as long as
        the fit for each row. The row's value is then the ratio of both posteriors' normalising constants, estimated
        from the draws of both (Meng & Wong, 1996), and its k-hat is 0 unless the value's standard error is above 0.3;
        ``log_likelihood.attrs["refitted"]`` lists the labels of such rows.

        References
        ----------
        Vehtari, Gelman & Gabry (2017), Practical Bayesian model evaluation using leave-one-out cross-validation and
        WAIC, Statistics and Computing 27, 1413-1432.

        Meng & Wong (1996), Simulating ratios of normalizing constants via a simple identity: a theoretical exploration,
        Statistica Sinica 6, 831-860.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> est = bm.MixedModelRegressor("Days + (Days | Subject)", random_state=1).fit(df, df["Reaction"])
        >>> int(est.loo(df, df["Reaction"]).n_data_points)
        180
        """
        check_is_fitted(self)
        require_rows(X, "loo")
        design, obs = fitted_rows(self, X, y, sample_weight)
        after_fit.check_rows(design, self._rows)
        return after_fit.loo(self._posterior, design, obs, progressbar=self.progressbar)

    def build_model(self, X: Any, y: Any = None, sample_weight: Any = None) -> pm.Model:
        """Write the model in PyMC, to read, plot or extend it; no fit is needed.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        pymc.Model
            Variables and dims named as in `idata_`, on the user's scale.
        """
        self._validate_params()
        require_rows(X, "build_model")
        learned = learn(self, X, y, sample_weight, reset=None)
        return build_model(self._model(learned.model, learned.design), learned.design, learned.obs)

    def _find_family(self) -> Family:
        """The family that the parameters name.

        Raises
        ------
        ValueError
            If there is no family of that name, or it does not have that link.
        """
        raise NotImplementedError

    def _learn_response(self, family: Family, column: pd.Series) -> tuple[Family, np.ndarray]:
        """The family for the response of a fit, and that response as numbers, (n,)."""
        return family, as_numbers(column)

    def _read_response(self, column: pd.Series) -> np.ndarray:
        """A response as numbers, (n,), read in the same way as in the fit."""
        return as_numbers(column)

    def _model(self, learned: tuple[DesignSpec, Family], data: Measured) -> Model:
        """The model from what was learned of some rows, with priors resolved on the same rows."""
        spec, family = learned
        return Model(spec, family, resolve_priors(data, family, self.priors, self.lkj_eta))

    def _keep(self, posterior: Posterior, rows: Rows, summed: Summed | Running[Summed] | None) -> Self:
        """Store the result of a fit and, if there are any, the sums to which `partial_fit` adds."""
        draws = posterior.draws
        self.design_spec_, self.priors_ = posterior.spec, posterior.model.priors
        self.diagnostics_ = draws.diagnostics
        self.coef_ = draws.mean("beta").copy() if posterior.spec.common_names else np.empty(0)
        self.intercept_ = float(draws.mean("Intercept")) if "Intercept" in draws.values else 0.0
        self._posterior = posterior
        self._rows = rows
        self._summed = Running((summed,)) if isinstance(summed, Summed) else summed
        self._idata = None
        return self

    def __sklearn_is_fitted__(self) -> bool:
        # a failed fit leaves names of columns behind; a fit that is yet to be drawn has sums
        return "_posterior" in vars(self) or self._is_waiting()

    def _with_formula(self, tags: Any) -> Any:
        """The tags of a kind of estimator, with what the formula says about X and y."""
        if isinstance(self.formula, str):
            tags.input_tags.string = tags.input_tags.categorical = True
            tags.input_tags.two_d_array = False  # columns need names
            with suppress(FormulaError):  # fit will say what is wrong with it
                tags.target_tags.required = parse(self.formula).response is None
        return tags

    def __getstate__(self) -> dict[str, Any]:  # the container is assembled again on demand
        return {name: None if name == "_idata" else value for name, value in super().__getstate__().items()}


def showing_what_it_inherits(cls: type) -> type:
    """Copy the base's public methods into a class: tools that render a reference show only a class's own methods."""
    for parent in MixedModel.__mro__[: MixedModel.__mro__.index(BaseEstimator)]:
        for name, member in vars(parent).items():
            if not name.startswith("_") and name not in vars(cls):
                setattr(cls, name, member)
    return cls
