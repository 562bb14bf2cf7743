"""Column names that need backquotes in a formula, or that it cannot contain at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from bayesmixed.errors import quoted

_PLAIN = re.compile(r"[^\W\d_]\w*(?:\.\w+)*")  # a name as `tokenize` reads it


def cure_of_names(formula: str, columns: Iterable[Any], absent: Sequence[str] = ()) -> str:
    """Say how to write the columns that a formula seems to mean; empty if there are none.

    Parameters
    ----------
    formula : str
        One that cannot be read, or that uses names that are not columns.
    columns : iterable
        The names of X's columns.
    absent : sequence of str
        Names in the formula that are not columns.

    Examples
    --------
    >>> cure_of_names("body mass + age", ["body mass", "age"])
    "X has the column 'body mass'. Put a name that is not a single word in backquotes: `body mass`."
    """
    columns = list(columns)
    bare = re.sub(r"`[^`]*`", " ", formula)
    other = [str(name) for name in columns if not isinstance(name, str)]
    if other and (absent or any(_stands_in(name, bare) for name in other)):
        levels = any(isinstance(name, tuple) for name in columns)
        text = "[' '.join(map(str, name)) for name in X.columns]" if levels else "X.columns.astype(str)"
        return (
            f"Column names must be text, but {quoted(other)} of X are not; set X.columns = {text}. Then put names that "
            "are not a single word in backquotes" + ("." if levels else f": `{other[0]}`.")
        )
    odd = [name for name in columns if isinstance(name, str) and not _PLAIN.fullmatch(name)]
    meant = [name for name in odd if _stands_in(name, bare) or any(_is_part(word, name) for word in absent)]
    # the longer one of 'mass' and 'body mass'
    meant = [name for name in meant if not any(name != longer and name in longer for longer in meant)]
    if not meant:
        return ""
    if any("`" in name for name in meant):
        return f"X has {quoted(meant)}; rename columns that have a backquote in their names."
    has = "the column" if len(meant) == 1 else "the columns"
    written = ", ".join(f"`{name}`" for name in meant)
    return f"X has {has} {quoted(meant)}. Put a name that is not a single word in backquotes: {written}."


def _stands_in(name: str, text: str) -> bool:
    """Whether a text contains a name, apart from spaces around its signs and the case of its letters."""
    parts = re.findall(r"\w+|[^\w\s]", name)
    if not any(part[0].isalnum() or part[0] == "_" for part in parts):
        return False
    pattern = re.escape(parts[0])
    for left, right in pairwise(parts):
        pattern += (r"\s+" if _is_word(left) and _is_word(right) else r"\s*") + re.escape(right)
    start, end = r"(?<!\w)" * _is_word(parts[0]), r"(?!\w)" * _is_word(parts[-1])
    return re.search(start + pattern + end, text, re.IGNORECASE) is not None


def _is_word(part: str) -> bool:
    return re.fullmatch(r"\w+", part) is not None


def _is_part(absent: str, name: str) -> bool:
    """Whether a name that is not a column has the words of one, or the first of them."""
    given, words = (re.findall(r"[^\W_]+", text.casefold()) for text in (absent, name))
    return bool(given) and words[: len(given)] == given
