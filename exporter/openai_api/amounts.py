"""Money as the API spells it, read exactly. Pure."""

import re
from decimal import Decimal, DecimalException, Inexact
from typing import Final

from exporter.exact import canonical

_MOST_DECIMALS: Final = 60
_MOST_DIGITS_BEFORE_THE_POINT: Final = 18
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_CURRENCY: Final = re.compile(r"[a-z]{3}")
_LONGEST_TEXT: Final = 10_000


class BadAmountError(ValueError):
    """No amount of money. The message does not repeat it."""


def parse_amount(value: object) -> Decimal:
    """Read an amount from a number or a string.

    Raises:
        BadAmountError: it is no finite number, has more than 60 decimals, or is 1e18 and more.
    """
    amount = _decimal(value)
    if not amount.is_finite():
        raise BadAmountError("not finite")
    if amount and amount.adjusted() >= _MOST_DIGITS_BEFORE_THE_POINT:
        raise BadAmountError("too large")
    try:
        amount = canonical(amount)
    except Inexact:
        raise BadAmountError("too many digits") from None
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -_MOST_DECIMALS:
        raise BadAmountError("too many decimals")
    return amount


def _decimal(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and len(value) <= _LONGEST_TEXT and _NUMBER.fullmatch(value):
        try:
            return Decimal(value)
        except DecimalException:
            raise BadAmountError("an exponent beyond reason") from None
    raise BadAmountError("not a number")


def parse_currency(value: object) -> str:
    """Read a currency code, in lower case.

    Raises:
        BadAmountError: it is no three-letter code.
    """
    code = value.lower() if isinstance(value, str) else ""
    if not _CURRENCY.fullmatch(code):
        raise BadAmountError("no currency")
    return code
