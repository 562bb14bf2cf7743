"""Read a model formula: the common part as text, one `GroupTerm` per bar; raise for what would be misread.

formulae parses everything *inside* a term, but it ignores what follows an operator it does not know
(``y ~ x | g`` fits ``y ~ x``) and forgets whether effects may correlate. Bars are therefore parsed
here, and only text that formulae reads in full is passed on.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from bayesmixed.errors import FormulaError
from bayesmixed.formula.tokens import Token, join, tokenize


@dataclass(frozen=True)
class GroupTerm:
    """One bar of a formula, ``(effects | factor)``.

    Attributes
    ----------
    factor : str
        Name of the grouping factor: a column, or columns joined by ``":"``.
    effects_formula : str
        Left side of the bar, in formulae's language, e.g. ``"Days"`` (with implied intercept).
    correlated : bool or None
        ``False`` for ``||``; ``None`` for ``|``: as the estimator's ``group_prior`` says.
    columns : tuple of str
        The columns of the data that make up the factor, e.g. ``("batch", "cask")``.
    variables : tuple of str
        The columns of the data that `effects_formula` uses.
    """

    factor: str
    effects_formula: str
    correlated: bool | None
    columns: tuple[str, ...]
    variables: tuple[str, ...]


@dataclass(frozen=True)
class ParsedFormula:
    """A formula taken apart.

    Attributes
    ----------
    text : str
        The formula as the user wrote it, for messages.
    response : str or None
        The column on the left of ``~``; ``None`` for a one-sided formula.
    trials : str or None
        The column with the numbers of trials, in ``p(response, trials) ~ ...``.
    common : str
        The common part, one-sided, in formulae's language; ``"1"`` if there are only groups.
    groups : tuple of GroupTerm
        One per bar and factor, in the order of the formula.
    variables : tuple of str
        The columns that the common part uses.
    """

    text: str
    response: str | None
    trials: str | None
    common: str
    groups: tuple[GroupTerm, ...]
    variables: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that the right side uses, grouping factors included."""
        of_groups = [name for term in self.groups for name in (*term.variables, *term.columns)]
        return tuple(dict.fromkeys([*self.variables, *of_groups]))

    @property
    def of_effects(self) -> tuple[str, ...]:
        """The columns from which effects are computed, common or of groups."""
        return tuple(dict.fromkeys([*self.variables, *(name for term in self.groups for name in term.variables)]))

    @property
    def texts(self) -> list[str]:
        """The parts of the right side without bars: the common one, then the effects of each bar."""
        return [self.common, *(term.effects_formula for term in self.groups)]

    @property
    def left(self) -> tuple[str, ...]:
        """The columns that the left side uses."""
        return tuple(name for name in (self.response, self.trials) if name is not None)


def parse(formula: str) -> ParsedFormula:
    """Read a model formula.

    Parameters
    ----------
    formula : str
        One-sided (``"Days + (Days | Subject)"``) or two-sided (``"Reaction ~ ..."``).

    Returns
    -------
    ParsedFormula

    Raises
    ------
    FormulaError
        For anything that would be misread; the message says where, and what to write instead.

    Examples
    --------
    >>> parsed = parse("Reaction ~ Days + (Days || Subject)")
    >>> parsed.response, parsed.common
    ('Reaction', 'Days')
    >>> parsed.groups[0].factor, parsed.groups[0].correlated
    ('Subject', False)
    """
    if not isinstance(formula, str):
        raise FormulaError(f"formula must be a string, got {type(formula).__name__}.")
    tokens = tokenize(formula)
    response, trials, right = _split_response(tokens, formula)
    if not right:
        raise FormulaError(f"formula {formula!r} has no terms; write '1' for an intercept only.")
    common, bars = _split_bars(right, formula)
    _refuse_removed_offsets(common, formula)
    groups: list[GroupTerm] = []
    for left, correlated, factor in bars:
        groups.extend(_group_terms(left, correlated, factor, formula))
    parsed = ParsedFormula(formula, response, trials, join(common) or "1", _merge_spellings(groups), _variables(common))
    if response in parsed.columns:
        raise FormulaError(
            f"formula {formula!r}: the response {response!r} is also on the right side and would explain itself."
        )
    return parsed


def _split_response(tokens: list[Token], formula: str) -> tuple[str | None, str | None, list[Token]]:
    """Names of the response and of the trials, and the right side."""
    tildes = [i for i, token in enumerate(tokens) if token.text == "~"]
    if not tildes:
        if tokens and tokens[0].kind == "share":
            raise FormulaError(f"formula {formula!r}: {tokens[0].name}() is a response; write '~' after it.")
        return None, None, tokens
    if len(tildes) > 1:
        raise FormulaError(f"formula {formula!r} has more than one '~'.")
    left, right = tokens[: tildes[0]], tokens[tildes[0] + 1 :]
    if not left:
        return None, None, right
    if left[0].kind == "share":
        return *_successes_and_trials(left, formula), right
    if len(left) > 1 or left[0].kind != "name":
        raise FormulaError(
            f"formula {formula!r}: the left side must be the name of one column, got {join(left)!r}. To model a "
            "transformed response, give the column and wrap the estimator in "
            "sklearn.compose.TransformedTargetRegressor; write successes among trials as p(successes, trials)."
        )
    return left[0].name, None, right


def _successes_and_trials(left: list[Token], formula: str) -> tuple[str, str]:
    """The columns of ``p(successes, trials)``."""
    if [token.kind for token in left] != ["share", "op", "name", "op", "name", "op"] or left[3].text != ",":
        raise FormulaError(
            f"formula {formula!r}: expected {left[0].name}(successes, trials), the names of two columns, got "
            f"{join(left)!r}."
        )
    return left[2].name, left[4].name


def _refuse_removed_offsets(common: list[Token], formula: str) -> None:
    """Reject an offset after a minus, which would be dropped, not subtracted."""
    for term in _summands(common) if common else []:
        if term[0].text == "-" and any(token.kind == "function" and token.name == "offset" for token in term):
            raise FormulaError(f"formula {formula!r}: an offset can only be added; to subtract it, write offset(-x).")


Bar = tuple[list[Token], "bool | None", list[Token]]


def _split_bars(tokens: list[Token], formula: str) -> tuple[list[Token], list[Bar]]:
    """Split the sum into the terms without bars (kept as tokens) and the bars."""
    common: list[Token] = []
    bars: list[Bar] = []
    for term in _summands(tokens):
        sign, body = _strip_sign(term)
        if not any(token.is_bar for token in body):
            # a leading '+' is redundant and reads badly
            common += body if sign != "-" and not common else [*_sign_tokens(sign), *body]
            continue
        if _level(body, ("|", "||")):
            raise FormulaError(
                f"formula {formula!r}: a bar needs parentheses, as in '({join(body)})'. Without them, what "
                "follows the bar would be lost."
            )
        if sign == "-" or not _wrapped(body):
            raise FormulaError(
                f"formula {formula!r}: a term with a bar can only be added, got {join(term)!r}; write "
                "'... + (effects | factor)'."
            )
        inner = body[1:-1]
        at = _level(inner, ("|", "||"))
        if not at:  # parentheses around a sum that holds bars
            inner_common, inner_bars = _split_bars(inner, formula)
            if inner_common:
                common += [*_sign_tokens("+" if common else ""), *inner_common]
            bars += inner_bars
            continue
        if len(at) > 1:
            raise FormulaError(f"formula {formula!r}: more than one bar in {join(body)!r}.")
        left, right = inner[: at[0]], inner[at[0] + 1 :]
        if not left or not right or any(token.is_bar for token in left + right):
            raise FormulaError(f"formula {formula!r}: expected '(effects | factor)', got {join(body)!r}.")
        bars.append((left, False if inner[at[0]].text == "||" else None, right))
    return common, bars


def _sign_tokens(sign: str) -> list[Token]:
    return [Token("op", sign, sign, False)] if sign else []


def _strip_sign(term: list[Token]) -> tuple[str, list[Token]]:
    if term[0].text in ("+", "-"):
        return term[0].text, term[1:]
    return "", term


def _summands(tokens: list[Token]) -> list[list[Token]]:
    """Split at the ``+`` and ``-`` outside all brackets; each part keeps its sign."""
    starts = [0, *(i for i in _level(tokens, ("+", "-")) if i > 0)]
    return [tokens[i:j] for i, j in zip(starts, [*starts[1:], len(tokens)], strict=True)]


def _level(tokens: list[Token], texts: tuple[str, ...]) -> list[int]:
    """Positions of the given operators that stand outside all brackets."""
    depth, found = 0, []
    for i, token in enumerate(tokens):
        depth += token.opens - token.closes
        if depth == 0 and token.kind == "op" and token.text in texts:
            found.append(i)
    return found


def _wrapped(tokens: list[Token]) -> bool:
    """Whether one pair of parentheses holds all the tokens."""
    if not tokens or tokens[0].text != "(":
        return False
    depth = 0
    for i, token in enumerate(tokens):
        depth += token.opens - token.closes
        if depth == 0:
            return i == len(tokens) - 1
    return False


def _group_terms(left: list[Token], correlated: bool | None, right: list[Token], formula: str) -> list[GroupTerm]:
    terms = []
    for columns in _factors(right, formula):
        terms.append(GroupTerm(":".join(columns), join(left), correlated, columns, _variables(left)))
    return terms


def _factors(tokens: list[Token], formula: str) -> list[tuple[str, ...]]:
    """Expand the right side of a bar: ``+``, then ``/`` and ``*``, then ``:``, as in R."""
    if sums := _level(tokens, ("+",)):
        return _unique([f for part in _cut(tokens, sums) for f in _factors(part, formula)])
    if products := _level(tokens, ("/", "*")):  # left to right, so split at the last one
        at = products[-1]
        outer, inner = _factors(tokens[:at], formula), _factors(tokens[at + 1 :], formula)
        if tokens[at].text == "*":
            return _unique([*outer, *inner, *(_cross(a, b) for a in outer for b in inner)])
        together = tuple(dict.fromkeys(name for factor in outer for name in factor))
        return _unique([*outer, *(_cross(together, b) for b in inner)])
    if colons := _level(tokens, (":",)):
        crossed: list[tuple[str, ...]] = [()]
        for part in _cut(tokens, colons):
            crossed = [_cross(a, b) for a in crossed for b in _factors(part, formula)]
        return crossed
    if _wrapped(tokens):
        return _factors(tokens[1:-1], formula)
    if len(tokens) == 4 and tokens[0].text == "C" and tokens[1].text == "(":
        tokens = tokens[2:3]  # C(g): a grouping factor is categorical anyway
    if len(tokens) != 1 or tokens[0].kind != "name":
        raise FormulaError(
            f"formula {formula!r}: a grouping factor must be a column, or columns joined by ':', '/', '*' or '+', "
            f"got {join(tokens)!r}."
        )
    if ":" in tokens[0].name:
        raise FormulaError(
            f"formula {formula!r}: the grouping factor {tokens[0].name!r} reads as an interaction; rename the column."
        )
    return [(tokens[0].name,)]


def _cut(tokens: list[Token], at: list[int]) -> list[list[Token]]:
    bounds = [-1, *at, len(tokens)]
    return [tokens[i + 1 : j] for i, j in pairwise(bounds)]


def _cross(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(a + b))


def _unique(factors: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return list({frozenset(columns): columns for columns in reversed(factors)}.values())[::-1]


def _merge_spellings(groups: list[GroupTerm]) -> tuple[GroupTerm, ...]:
    """Name a factor by its first spelling in all its bars, as ``h:g`` is ``g:h``."""
    first: dict[frozenset[str], GroupTerm] = {}
    merged = []
    for term in groups:
        named = first.setdefault(frozenset(term.columns), term)
        merged.append(GroupTerm(named.factor, term.effects_formula, term.correlated, named.columns, term.variables))
    return tuple(merged)


def _variables(tokens: list[Token]) -> tuple[str, ...]:
    """Names of the columns used, each once, in order, without function names and keywords."""
    return tuple(dict.fromkeys(token.name for token in tokens if token.is_variable))


def terms_by_factor(parsed: ParsedFormula) -> dict[str, list[GroupTerm]]:
    """The bars of each grouping factor, in the order of the formula."""
    found: dict[str, list[GroupTerm]] = {}
    for term in parsed.groups:
        found.setdefault(term.factor, []).append(term)
    return found
