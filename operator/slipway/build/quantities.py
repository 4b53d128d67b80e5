"""Kubernetes quantities as numbers: `500m`, `1.5Gi`, `2e3`. The one place that parses and compares them.

Source: Kubernetes API, `resource.Quantity`: a decimal number with one of the suffixes n u m k M G T P E, a binary one
Ki Mi Gi Ti Pi Ei, or an exponent. The API server rewrites a quantity to its own canonical form ("0.5Gi" comes back as
"512Mi"), so comparing texts would see drift for ever.
"""

from __future__ import annotations

import re
from decimal import Decimal

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_QUANTITY = re.compile(r"^([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([eE][+-]?\d{1,3})|([KMGTPE]i|[numkMGTPE]?))$")

MEBIBYTE = 1024 * 1024


def parse_quantity(text: str | int | float) -> Decimal:
    """The exact number; ValueError if `text` is not a quantity. `1E` is exa, `1E2` is a hundred, as in Kubernetes."""
    match = _QUANTITY.match(str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a Kubernetes quantity such as 500m, 2 or 1.5Gi")
    number, exponent, suffix = Decimal(match[1]), match[2], match[3] or ""
    if exponent:
        return number.scaleb(int(exponent[1:]))
    if suffix in _BINARY:
        return number * Decimal(1024) ** _BINARY[suffix]
    return number.scaleb(_DECIMAL[suffix])


def quantities_equal(a: object, b: object) -> bool:
    """Do both mean the same amount? What is not a quantity (an absent value, a word) is compared as it stands."""
    if isinstance(a, bool) or isinstance(b, bool) or not isinstance(a, str | int | float):
        return a == b
    if not isinstance(b, str | int | float):
        return False
    try:
        return parse_quantity(a) == parse_quantity(b)
    except ValueError:
        return a == b


def format_mebibytes(size_bytes: int) -> str:
    """Rounded up to whole MiB, in the API server's canonical form for such sizes below 1 GiB or not divisible by it."""
    mebibytes = -(-size_bytes // MEBIBYTE)
    return f"{mebibytes // 1024}Gi" if mebibytes % 1024 == 0 else f"{mebibytes}Mi"
