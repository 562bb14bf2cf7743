"""`SufficientStatistics`: what a Gaussian mixed model needs from its rows, to be kept, sent, added and fitted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from bayesmixed.design.frames import kind_of
from bayesmixed.design.sources.find import find_source
from bayesmixed.design.sources.known import not_told
from bayesmixed.design.summed.summed import Summed, differences, means_the_same
from bayesmixed.errors import FormulaError, quoted
from bayesmixed.estimators.summed import files
from bayesmixed.estimators.summed.of_chunks import Reading
from bayesmixed.estimators.summed.reading import refuse_learning
from bayesmixed.estimators.summed.sources import sum_source
from bayesmixed.families import COLLAPSING, get_family
from bayesmixed.formula.parse import parse


@dataclass(frozen=True, eq=False, repr=False)
class SufficientStatistics(Summed):
    """All that a Gaussian or log-normal mixed model needs from its rows: sums, which add up.

    ``a + b`` is the statistics of both sets of rows, in any order, including levels that only one of them has, and
    ``(a + b) - b`` is those of `a` again. ``est.fit(a + b)`` is a fit to all rows: the same model and, with the same
    `random_state`, the same draws. All that is kept of a row is its contribution to sums per group; but the sums of a
    group of one row are that row, and labels may be names of persons: see `save` and `with_labels`.

    Create one with `of`.

    Attributes
    ----------
    n_rows : int
        Number of rows, whatever their weight.
    groups : tuple of GroupSpec
        The grouping factors, each with its labels as ``levels``.

    Notes
    -----
    The statistics hold, per factor, its labels and Z_j'WZ_j, Z_j'W[X, y] of every level j; for crossed factors, the
    same for pairs of levels that occur; and moments of X, Z and y. They are taken about an origin near the data, so
    that sums over many rows stay exact (Chan, Golub & LeVeque, 1983, Algorithms for computing the sample variance:
    analysis and recommendations, The American Statistician 37). Sums distinguish a column from a combination of others
    if 1e-7 of it is left, and a residual from zero if 1e-13 of y's sum of squares is left.

    A difference raises an error if counts, weights, sums of squares or labels show that the second operand is not part
    of the first. Rows that were never in the first, but could have been, are subtracted without an error. Sums of
    squares of what is left keep the rounding errors of the whole. If less than 1e-10 of a column's is left (for one
    group, 1e-11 of what it had), the difference also raises an error; sum the remaining rows again instead. A column
    of zeros and ones, or of a category's level, may become constant.

    Examples
    --------
    >>> import bayesmixed as bm
    >>> df = bm.datasets.load_sleepstudy()
    >>> formula = "Reaction ~ Days + (Days | Subject)"
    >>> early, late = df[df["Days"] < 5], df[df["Days"] >= 5]
    >>> a = bm.SufficientStatistics.of(formula, early)
    >>> b = bm.SufficientStatistics.of(formula, late, like=a)
    >>> a + b
    SufficientStatistics('Reaction ~ Days + (Days | Subject)'): 180 rows, gaussian
      Subject: 18 levels
    >>> est = bm.MixedModelRegressor(formula, random_state=0).fit(a + b)
    >>> est.predict(df.head(2)).round()
    array([253., 273.])
    """

    @classmethod
    def of(
        cls,
        formula: str,
        source: Any,
        *,
        family: str = "gaussian",
        sample_weight: Any = None,
        categories: Mapping[str, Any] | None = None,
        like: SufficientStatistics | None = None,
        progressbar: bool = False,
    ) -> SufficientStatistics:
        """Sum over the rows of a frame, or of a source that is read in chunks, a few of which are in memory at a time.

        Parameters
        ----------
        formula : str
            Two-sided, as in `MixedModelRegressor`.
        source : DataFrame, path, stream, lazy frame, or iterable of frames
            In this order: the path of a Parquet file, a list of paths, or a folder; a frame in memory (pandas, polars,
            Arrow or any other that narwhals reads); a Dask DataFrame, a polars LazyFrame, a DuckDB relation, an Ibis
            table, a pyarrow dataset or `RecordBatchReader`, or anything else with ``__arrow_c_stream__``; an iterable
            of frames, or a callable that returns one. Only the columns that the formula uses are read.

            Iterators and streams are read once. For other sources, a first pass reads what the formula needs: the
            levels of text columns among the effects, and the means and standard deviations of ``center`` and
            ``scale``; knots of splines must be stated. An Arrow dictionary is read as text, whose levels are sorted;
            `categories` states another order. With Dask, workers sum their partitions, and only sums are transferred.
        family : {"gaussian", "lognormal"}, default="gaussian"
        sample_weight : str or array-like of shape (n,), optional
            Frequency weights, as in `MixedModelRegressor.fit`: for one frame an array; for any source the name of the
            column that holds them.
        categories : dict of str, optional
            Levels of common categoricals, for rows that may not contain all of them: ``{"month": range(1, 13)}``. A
            Categorical declares its own levels. Levels that never occur are left out of a fit.
        like : SufficientStatistics, optional
            Statistics of other rows: what was learned about the columns from those (levels of categoricals, knots,
            means of ``scale``) is used for the new rows as well, so that both add up.
        progressbar : bool, default=False
            Whether to show how many rows of a source have been read.

        Returns
        -------
        SufficientStatistics

        Raises
        ------
        FormulaError
            If the formula has no response, does not fit the columns, or learns something that must be known of all
            rows.
        ValueError
            For missing or infinite values (the message names the chunk and the row within the source), a family that
            needs all rows at once, or a source without rows; and if the source has fewer rows than its metadata say, or
            different ones when it is read again.
        """
        parsed, found = parse(formula), get_family(family)
        if parsed.response is None:
            raise FormulaError(
                f"formula {formula!r} has no response; write 'y ~ {formula.strip().lstrip('~').strip()}'."
            )
        if not found.collapses:
            raise ValueError(
                f"only families {quoted(COLLAPSING)} have sufficient statistics; {family!r} needs the rows themselves."
            )
        if like is not None and not means_the_same(formula, like.spec.formula):
            raise ValueError(f"like= has statistics made for another formula, {like.spec.formula!r}, not {formula!r}.")
        if (rows := find_source(source)) is None:
            raise TypeError(
                "source must be a DataFrame, an iterable of DataFrames, a path, or another source of rows with named "
                f"columns, got {kind_of(source)}."
            )
        spec = None if like is None else like.spec
        named = isinstance(sample_weight, str)
        reading = Reading(cls, parsed, found, sample_weight if named else None, dict(categories or {}))
        if rows.in_memory:
            result = reading.whole(next(rows.chunks(reading.columns)).frame, None if named else sample_weight, spec)
        else:
            if sample_weight is not None and not named:
                raise ValueError("for several frames, sample_weight must be the name of one of their columns.")
            if like is None:
                refuse_learning(parsed, "the source", not_told(parsed))
            result, _ = sum_source(rows, reading, spec=spec, progressbar=progressbar)
        if like is not None and (difference := differences(like, result)):
            raise ValueError(f"like= has statistics that do not match the new ones: {difference}")
        return result

    def with_labels(self, column: str, mapping: Mapping[Any, Any]) -> Self:
        """Give the levels of a grouping factor other labels, such as numbers in place of names.

        Parameters
        ----------
        column : str
            The factor, or one of the columns of ``a:b``. A column gets its new labels in all factors that use it.
        mapping : dict of object to object
            A new label for every old one, no two the same. A Series of labels or a ``defaultdict`` also works.

        Returns
        -------
        SufficientStatistics
            It can no longer recognise its rows: after a fit to it, `loo` accepts any rows of the same number.

        Raises
        ------
        ValueError
            If a level has no new label, or two have the same; or if effects also use the column.

        Examples
        --------
        >>> import bayesmixed as bm
        >>> df = bm.datasets.load_sleepstudy()
        >>> a = bm.SufficientStatistics.of("Reaction ~ Days + (Days | Subject)", df)
        >>> secret = {subject: f"person {i}" for i, subject in enumerate(df["Subject"].unique())}
        >>> a.with_labels("Subject", secret).groups[0].levels[:2].tolist()
        ['person 0', 'person 1']
        """
        if column not in (known := [name for group in self.groups for name in group.factor_levels.columns]):
            raise ValueError(f"column must be one of {quoted(dict.fromkeys(known))}, got {column!r}.")
        if any(column in component.variables for part in self.spec.parts for term in part.terms for component in term):
            raise ValueError(
                f"effects also use the column {column!r} and would keep its labels; replace the labels in the rows."
            )
        return self.relabelled(column, mapping)

    def save(self, path: str | os.PathLike[str], *, minimum: int = 1) -> None:
        """Write the statistics to one file, for `bayesmixed.load`: numbers, labels and no code.

        Parameters
        ----------
        path : path-like
            An existing file is replaced when the new one is complete.
        minimum : int, default=1
            The fewest rows allowed in total, in every group, in every cell of two factors, and in every level of a
            category; also in every other nonempty cell over which the response is summed: a group combined with a
            column of zeros and ones on the left of its bar, such as that of a category's level, and such columns
            combined with each other. If rows have weights, these cells count weights.

            This does not cover mere numbers of rows, such as how many rows of a group have a level; what categories
            coded by sums or polynomials reveal; what any other column singles out by being 0 in all but a few rows; and
            what several statistics reveal together, such as those before and after a row was added.

        Raises
        ------
        ValueError
            If groups have fewer rows than `minimum`; says how many.
        OSError
            If the path cannot be written to.

        Warns
        -----
        UserWarning
            If groups have fewer than 5 rows and no `minimum` was given: sums of so few rows reveal the rows.

        Examples
        --------
        >>> import tempfile, bayesmixed as bm
        >>> a = bm.SufficientStatistics.of("Reaction ~ Days + (Days | Subject)", bm.datasets.load_sleepstudy())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     a.save(f"{folder}/site-1.bms", minimum=5)
        ...     print(bm.load(f"{folder}/site-1.bms").n_rows)
        180
        """
        files.save(path, self, minimum)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SufficientStatistics:
        """Read a file written by `save`, as `bayesmixed.load` does.

        Raises
        ------
        FileNotFoundError
        StorageError
            If the file is of another kind or version, or damaged.
        """
        return files.load(path, cls)

    def __repr__(self) -> str:
        weight, n = self.sums.products.n, self.n_rows
        rows = f"{n:,} rows" + (f" of weight {weight:,.10g}" if weight != n else "")
        small = self.few(files.FEW)
        lines = [f"{type(self).__name__}({self.spec.formula!r}): {rows}, {self.family.name}"]
        for group in self.groups:
            few = f", {small[group.name]:,} of them with fewer than {files.FEW} rows" if group.name in small else ""
            lines.append(f"  {group.name}: {len(group.levels):,} levels{few}")
        return "\n".join(lines)
