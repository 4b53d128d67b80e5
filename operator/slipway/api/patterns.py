"""Decides whether a regular expression of the spec is one that every router will read, and read as the user means it.

Envoy refuses a route table as a whole for one pattern that it does not like, and with it every weight: what RE2 does not
know, and what needs a program of more than 100 instructions (Envoy 1.40, runtime key re2.max_program_size.error_level).
`re` reads more and other things than RE2, so only what both read alike is let through; the size is estimated from above.
"""

from __future__ import annotations

import re
import warnings

from slipway.errors import SpecError

# An Envoy counts four more for the frame of the program.
MAX_SIZE = 90
# Groups other than (?: and a leading (?i), escapes beyond classes and punctuation, possessive repeats, open beginnings.
_NOT_PORTABLE = re.compile(r"\(\?(?!:)|\\(?![dDwWsSnrt]|[^A-Za-z0-9])|[*+?}]\+|\{,|[^ -~]")
_FOLD = "(?i)"
# One after another: a class in brackets, an escape, a group's begin, a repeat with numbers, any other character.
_TOKEN = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\.|\((?:\?:)?|\{\d+(?:,\d*)?\}|.")
_COSTS = {".": 2, "|": 1, "*": 1, "+": 1, "?": 1}


def refuse_bad_pattern(text: str, path: str) -> None:
    """Raises SpecError with what is wrong and what is expected."""
    try:
        with warnings.catch_warnings(action="error"):  # of sets that other languages read as sets of sets
            re.compile(text)
    except (re.error, OverflowError, FutureWarning) as error:
        raise SpecError(path, f"is {text!r}, expected a regular expression: {error}") from error
    if (found := _NOT_PORTABLE.search(text.removeprefix(_FOLD))) is not None:
        raise SpecError(path, f"has {found[0]!r} in {text!r}, which the routers' RE2 does not read; expected plain RE2")
    if (size := _size(text)) > MAX_SIZE:
        raise SpecError(
            path,
            f"makes about {size} steps of {text[:40]!r}, expected at most {MAX_SIZE}: a character is one, and each repeat "
            "by number multiplies; write it shorter, or use exact or prefix",
        )


def _size(text: str) -> int:
    """Instructions of the program, rather too many: one for a character, copies for a repeat by number."""
    folds = 2 if text.startswith(_FOLD) else 1
    groups, last = [0], 0
    for found in _TOKEN.finditer(text.removeprefix(_FOLD)):
        token = found[0]
        if token.startswith("("):
            groups.append(0)
            continue
        if token == ")":
            last = groups.pop() + 2
        elif token.startswith("{") and len(token) > 1:
            least, comma, most = token[1:-1].partition(",")
            sure = int(least) + (1 if comma and not most else 0)  # without an end: once more, as often as you like
            maybe = max(0, int(most or least) - int(least))
            groups[-1] += sure * last + maybe * (last + 1) + (1 if comma else 0) - last
            continue
        elif token.startswith("[") and len(token) > 1:
            last = folds * (len(token) - 1 + 4 * token.count("\\"))
        elif token.startswith("\\"):
            last = 5 if token[1].isalpha() else 1
        elif token in "|*+?":
            groups[-1] += _COSTS[token]
            continue
        else:
            last = _COSTS.get(token, 1)
        groups[-1] += last
    return sum(groups)
