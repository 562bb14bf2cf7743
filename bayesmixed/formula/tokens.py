"""Cut a formula into tokens, rejecting whatever formulae would drop or evaluate; `parse` reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from bayesmixed.errors import FormulaError, quoted

# NumPy functions that may be called by name; a formula never reaches the module itself, through which
# np.loadtxt('/path') would read a file.
NUMERIC_FUNCTIONS = (
    *("abs", "arccos", "arcsin", "arctan", "cbrt", "ceil", "cos", "cosh", "exp", "exp2", "expm1", "floor"),
    *("log", "log10", "log1p", "log2", "maximum", "minimum", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh"),
)
# formulae's own functions whose learned state is plain data
TRANSFORMS = ("C", "I", "S", "T", "bs", "center", "offset", "poly", "scale", "standardize")
ENCODINGS = ("Sum", "Treatment")
# R's names for a categorical column
SYNONYMS = {"factor": "C", "as.factor": "C"}
# the only call on a left side: successes and trials
SHARES = ("p", "prop", "proportion")
LIST = "c"  # the function that a list of numbers becomes a call of
FUNCTIONS = tuple(sorted((*NUMERIC_FUNCTIONS, *TRANSFORMS, *ENCODINGS), key=str.lower))

_INSTEAD = {
    "s": "for a smooth term use bs(x, df=...)",
    "ns": "for a spline use bs(x, df=...)",
    "mm": "multi-membership factors are not supported",
    "mo": "monotonic effects are not supported; use C(x) for an ordered predictor",
    "cbind": "write p(successes, trials) to the left of '~'",
    "gr": "write the factor on its own, as in '(1 | g)'",
    "binary": "make a 0/1 column, or use C(x)",
    "B": "make a 0/1 column, or use C(x)",
    **dict.fromkeys(SHARES, "a share of successes belongs on the left of '~', as in 'p(successes, trials) ~ x'"),
}

_PATTERN = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>"[^"']*"|'[^"']*')
      | (?P<quoted>`[^`]+`)
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>[^\W\d_]\w*(?:\.\w+)*)
      | (?P<hidden>_\w*)
      | (?P<op>%in%|\|\||\*\*|//|==|!=|<=|>=|[-+*/:|~(){}\[\],=<>%^.!&@$\\?;'"`#])""",
    re.VERBOSE,
)
_OUTSIDE = {"+", "-", "*", "/", ":", "**", "|", "||", "~", "(", ")", "{", "}"}
_COMPARISONS = {"==", "!=", "<", "<=", ">", ">="}
_INSIDE = {"+", "-", "*", "/", "**", "(", ")", "{", "}", ",", "=", *_COMPARISONS}
_CURES = {
    "^": "write '**' for interactions up to a given order, or {x ** 2} for a power",
    ".": "list the columns by name",
    "%in%": "write nesting as 'a/b'",
    "[": "subsets and lists are not supported, except in knots=[2, 5]",
}


@dataclass(frozen=True)
class Token:
    """One token: ``kind`` is name, number, string or op; ``text`` goes to formulae, ``name`` is the bare name."""

    kind: str
    text: str
    name: str
    is_variable: bool

    @property
    def opens(self) -> bool:
        return self.kind == "op" and self.text in ("(", "{")

    @property
    def closes(self) -> bool:
        return self.kind == "op" and self.text in (")", "}")

    @property
    def is_bar(self) -> bool:
        return self.kind == "op" and self.text in ("|", "||")


def join(tokens: list[Token]) -> str:
    """The tokens as text: spaces around operators, none inside brackets or after a function's name."""
    text = ""
    for token in tokens:
        tight = not text or (text[-1] in "({`" and text[-1] != "`") or token.closes or token.text == ","
        call = token.text == "(" and text and (text[-1].isalnum() or text[-1] == "_")
        text += ("" if tight or call else " ") + token.text
    return text


def tokenize(formula: str) -> list[Token]:
    """Tokens of a formula, with every name resolved to a column, a listed function or a keyword.

    Raises
    ------
    FormulaError
        For characters and operators outside the grammar, unknown functions and contrasts, attribute access,
        unbalanced brackets and two terms without an operator between them.
    """
    scanned = _read_lists(_read_quoting(_scan(formula), formula), formula)
    _check_contrasts(scanned, formula)
    tokens = _resolve_names(scanned, formula)
    _check_operators(tokens, formula)
    _check_arguments(tokens, formula)
    _check_arithmetic(tokens, formula)
    return tokens


def _scan(formula: str) -> list[Token]:
    tokens, at = [], 0
    while at < len(formula):
        match = _PATTERN.match(formula, at)
        if match is None:
            raise FormulaError(f"formula {formula!r}: unexpected character {formula[at]!r}.")
        kind, text, at = str(match.lastgroup), match.group(), match.end()
        if kind == "hidden":
            raise FormulaError(
                f"formula {formula!r}: the name {text!r} starts with an underscore; write it in backquotes, `{text}`."
            )
        if kind == "quoted":
            tokens.append(Token("name", text, text[1:-1], True))
        elif kind == "number" and np.isinf(float(text)):  # formulae would read 'inf' as a column
            raise FormulaError(f"formula {formula!r}: the number {text} is too large.")
        elif kind == "number":  # formulae reads '1e3' as 1 followed by a name
            plain = np.format_float_positional(float(text), trim="-") if "e" in text.lower() else text
            tokens.append(Token("number", f"{plain}0" if plain.endswith(".") else plain, text, False))
        elif kind != "space":
            tokens.append(Token(kind, text, text, kind == "name"))
    return tokens


def _read_quoting(tokens: list[Token], formula: str) -> list[Token]:
    """Turn names quoted as in patsy, ``Q("a b")``, into names in backquotes."""
    read: list[Token] = []
    at = 0
    while at < len(tokens):
        call = tokens[at : at + 4]
        if [token.text for token in call[:2]] != ["Q", "("]:
            read.append(tokens[at])
            at += 1
            continue
        name = call[2].text[1:-1] if len(call) == 4 and call[2].kind == "string" and call[3].text == ")" else ""
        if not name or "`" in name:
            raise FormulaError(
                f"formula {formula!r}: Q() takes the name of one column in quotes, as in Q('body mass'). You can also "
                "write the name in backquotes, `body mass`."
            )
        read.append(Token("name", f"`{name}`", name, True))
        at += 4
    return read


def _read_lists(tokens: list[Token], formula: str) -> list[Token]:
    """Turn a list of numbers, ``knots=[2, 5]``, into a call of `LIST`, as formulae has no lists."""
    read: list[Token] = []
    inside = False
    for token in tokens:
        starts = token.text == "[" and [before.text for before in read[-2:]] == ["knots", "="]
        if starts:
            read += [Token("function", LIST, LIST, False), Token("op", "(", "(", False)]
        elif inside and token.text == "]":
            read.append(Token("op", ")", ")", False))
        elif inside and token.kind != "number" and token.text not in ("-", ","):
            raise FormulaError(
                f"formula {formula!r}: knots has to be a list of numbers, as in knots=[2, 5]; got {token.text!r}."
            )
        else:
            read.append(token)
        inside = starts or (inside and token.text != "]")
    return read


def _check_contrasts(tokens: list[Token], formula: str) -> None:
    """Check that a contrast is one of the two known and follows the column in ``C()``; its levels are the column's."""
    called: list[str] = []  # for each open bracket: the name before it
    commas: list[int] = []
    for i, token in enumerate(tokens):
        before = tokens[i - 1] if i else Token("op", "", "", False)
        following = tokens[i + 1].text if i + 1 < len(tokens) else ""
        in_category = bool(called) and called[-1] in ("C", *SYNONYMS)
        if token.text in ENCODINGS and following == "(" and not in_category:
            raise FormulaError(
                f"formula {formula!r}: {token.text} is a contrast and belongs inside C(), as in C(k, {token.text})."
            )
        if token.opens:
            called.append(before.text if before.kind == "name" else "")
            commas.append(0)
        elif token.closes:
            del called[-1:], commas[-1:]
        elif in_category and token.text == ",":
            commas[-1] += 1
        elif in_category and following == "=":
            if token.text != "contrast":
                raise FormulaError(
                    f"formula {formula!r}: C() takes a column and a contrast, got {token.text!r}. To set the order of "
                    "the levels, make the column a Categorical: pd.Categorical(..., categories=[...])."
                )
        elif in_category and before.text in (",", "=") and token.kind != "op" and token.text not in ENCODINGS:
            raise FormulaError(
                f"formula {formula!r}: {token.text} is not a contrast; use Treatment or Sum, as in C(k, Sum) or "
                "C(k, Treatment('reference'))."
            )


def _resolve_names(tokens: list[Token], formula: str) -> list[Token]:
    resolved: list[Token] = []
    calls = [False]  # for each open bracket: are we inside a call?
    closers: list[str] = []  # and its closing bracket
    for i, raw in enumerate(tokens):
        following = tokens[i + 1].text if i + 1 < len(tokens) and tokens[i + 1].kind == "op" else ""
        is_name = raw.kind == "name" and not raw.text.startswith("`")
        before = resolved[-1].text if resolved else ""
        token = _resolve(raw, before, following, calls[-1], formula) if is_name else raw
        if token.text == "^" and calls[-1]:  # a power in R, but not in Python
            token = Token("op", "**", "**", False)
        if token.opens:
            closers.append({"(": ")", "{": "}"}[token.text])
            is_call = i > 0 and resolved[-1].kind in ("function", "share")
            calls.append(calls[-1] or token.text == "{" or is_call)
        elif token.closes:
            if not closers or token.text != closers[-1]:
                raise FormulaError(f"formula {formula!r}: a {token.text!r} has no opening bracket.")
            calls.pop()
            closers.pop()
        elif token.kind == "op":
            _check_allowed(token.text, calls[-1], formula)
        elif not calls[-1] and _is_stray(token, resolved):
            raise FormulaError(
                f"formula {formula!r}: {token.text} is not a term; put arithmetic inside braces, as in {{x + 2}}."
            )
        resolved.append(token)
    if closers:
        raise FormulaError(f"formula {formula!r}: a bracket is not closed.")
    return resolved


def _is_stray(token: Token, before: list[Token]) -> bool:
    """Whether a number or string is used as a term: only 0, 1 and the order after ``**`` may be."""
    is_order = bool(before) and before[-1].text == "**"
    return token.kind == "string" or (token.kind == "number" and token.text not in ("0", "1") and not is_order)


def _resolve(token: Token, before: str, following: str, in_call: bool, formula: str) -> Token:
    name = token.text
    if following == "(" and name in SHARES and not before:
        return Token("share", name, name, False)
    if following == "(":
        bare = SYNONYMS.get(name, name.removeprefix("np.").removeprefix("numpy."))
        if bare not in FUNCTIONS or (bare != name and bare not in NUMERIC_FUNCTIONS and name not in SYNONYMS):
            hint = f" Here, {_INSTEAD[name]}." if name in _INSTEAD else ""
            raise FormulaError(
                f"formula {formula!r} calls {name!r}, which is not a known function.{hint} "
                f"Known functions: {quoted(FUNCTIONS, at_most=len(FUNCTIONS))}."
            )
        return Token("function", bare, bare, False)
    if in_call and (following == "=" or (name in ENCODINGS and before in (",", "="))):
        return replace(token, is_variable=False)
    if name in ("True", "False", "None"):
        return Token("number" if not in_call else "literal", name, name, False)
    return token


def _check_allowed(text: str, in_call: bool, formula: str) -> None:
    if text in (_INSIDE if in_call else _OUTSIDE):
        return
    where = "inside a call" if in_call else "outside a call"
    cure = _CURES.get(text, "put a comparison inside braces, as in {x > 0}" if text[0] in "=!<>" else "remove it")
    raise FormulaError(f"formula {formula!r}: {text!r} cannot be used {where}; {cure}.")


def _check_arguments(tokens: list[Token], formula: str) -> None:
    """NumPy's functions take only numbers, as a further argument is where they write output; braces take no names."""
    inside: list[str] = []  # for each open bracket: the function it belongs to
    commas: list[int] = []
    for i, token in enumerate(tokens):
        if token.opens:
            inside.append(tokens[i - 1].name if i > 0 and tokens[i - 1].kind == "function" else "")
            commas.append(0)
        elif token.closes:
            inside.pop()
            commas.pop()
        elif token.text == "=" and (not inside or inside[-1] in ("", "I", *NUMERIC_FUNCTIONS)):
            raise FormulaError(
                f"formula {formula!r}: '=' does not name an argument here. Write '==' to compare, and give the "
                "arguments of a numeric function without names."
            )
        elif token.text == "," and inside and inside[-1] in NUMERIC_FUNCTIONS:
            commas[-1] += 1
            if commas[-1] > (inside[-1] in ("maximum", "minimum")):
                raise FormulaError(f"formula {formula!r}: {inside[-1]!r} is called with too many arguments.")


def _check_arithmetic(tokens: list[Token], formula: str) -> None:
    """Reject what formulae reads from left to right but Python does not: -x ** 2, 2 ** x ** 2, 0 < x < 1."""
    starts: list[int] = []  # position of each open bracket
    compared = [False]  # for each bracket level, since the last comma
    calls = [False]  # for each bracket level: is it inside a call?
    operand = 0  # where the last operand starts
    for i, token in enumerate(tokens):
        if token.opens:
            is_call = i > 0 and tokens[i - 1].kind == "function"
            starts.append(i - is_call)
            compared.append(False)
            calls.append(calls[-1] or is_call or token.text == "{")
        elif token.closes:
            operand = starts.pop()
            compared.pop()
            calls.pop()
        elif token.kind != "op":
            operand = i
        elif token.text == ",":
            compared[-1] = False
        elif token.text in _COMPARISONS:
            if compared[-1]:
                raise FormulaError(
                    f"formula {formula!r}: two comparisons in a row; put each in brackets, as in {{(0 < x) * (x < 1)}}."
                )
            compared[-1] = True
        elif token.text == "**" and not calls[-1] and tokens[operand].kind in ("name", "function"):
            term = join(tokens[operand:i])
            raise FormulaError(
                f"formula {formula!r}: outside braces, {term} ** ... means the term itself; for a power write "
                f"{{{term} ** 2}} or poly()."
            )
        elif token.text == "**":
            sign, left = tokens[operand - 1 : operand], tokens[operand - 2 : operand - 1] if operand > 1 else []
            negated = sign and sign[0].text == "-" and (not left or (left[0].kind == "op" and not left[0].closes))
            if negated or (sign and sign[0].text == "**"):
                raise FormulaError(
                    f"formula {formula!r}: use brackets to show what is raised to the power, as in {{-(x ** 2)}}."
                )


def _check_operators(tokens: list[Token], formula: str) -> None:
    """Two operands need an operator between them: formulae would drop everything after the first."""
    if tokens and tokens[-1].kind == "op" and tokens[-1].text in ("+", "-", "*", "/", ":", "**"):
        raise FormulaError(f"formula {formula!r} ends with {tokens[-1].text!r}; a term is missing.")
    for before, after in pairwise(tokens):
        ends = before.closes or before.kind in ("name", "number", "string", "literal")
        starts = after.opens or after.kind in ("name", "number", "string", "literal", "function")
        if ends and starts:
            raise FormulaError(
                f"formula {formula!r}: an operator is missing between {before.text!r} and {after.text!r}; "
                "join terms with '+', and call functions by name."
            )
