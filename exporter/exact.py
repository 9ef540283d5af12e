"""Exact arithmetic for counts and money: whatever cannot be exact raises instead of rounding."""

from collections.abc import Iterable
from decimal import Context, Decimal, DivisionByZero, FloatOperation, Inexact, InvalidOperation, Overflow
from typing import Final

Amount = int | Decimal
"""A count (int) or money (Decimal). Never a binary float."""

EXACT: Final = Context(prec=200, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero, FloatOperation])
"""Amounts have at most 78 digits (18 before the point, 60 behind it), so 200 hold the sum of any number of them.
Python's default context would round at 28, silently."""


def add(left: Amount, right: Amount) -> Amount:
    """Return the exact sum; raises `decimal.Inexact` if it had to round."""
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    return EXACT.add(left, right)


def subtract(left: Amount, right: Amount) -> Amount:
    """Return the exact difference; raises `decimal.Inexact` if it had to round."""
    if isinstance(left, int) and isinstance(right, int):
        return left - right
    return EXACT.subtract(left, right)


def total(amounts: Iterable[Amount]) -> Amount:
    """Return the exact sum of all of them, 0 for none."""
    result: Amount = 0
    for amount in amounts:
        result = add(result, amount)
    return result


def add_each(left: tuple[Amount, ...], right: tuple[Amount, ...]) -> tuple[Amount, ...]:
    """Return the element-wise exact sum of two rows of values of equal length."""
    return tuple(map(add, left, right))


def canonical(amount: Decimal) -> Decimal:
    """Spell an amount without trailing zeros, and zero as plain 0."""
    return EXACT.normalize(amount) if amount else Decimal(0)
