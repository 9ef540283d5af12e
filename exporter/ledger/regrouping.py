"""When an API is read at another grain: credit what was counted at the old grain to the rows of the new one.

Nothing is lost and nothing counts twice: per measure and bucket the credits sum to exactly what the old rows held.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from exporter.exact import EXACT, Amount, add, add_each, subtract, total
from exporter.ledger.account import Rows
from exporter.openai_api.answer import RowKey, RowValues


def credit(old: Rows, new: Rows, common: Callable[[RowKey], RowKey]) -> dict[RowKey, RowValues]:
    """Spread a bucket's `old` rows over the keys of its `new` rows.

    Rows meet where they agree on the dimensions both grains have. There the old total is shared in proportion to the
    new values, so that growth falls on all of them alike. Old rows that meet no new row keep a key of their own.

    Args:
        old: the bucket's rows at the old grain.
        new: the bucket's rows at the new grain.
        common: reduces a key to the dimensions both grains have, None elsewhere.

    Returns:
        What each key has already been counted for. Keys of `new` may be missing: nothing was counted for them.
    """
    new_keys = _keys_by_group(new, common)
    credited: dict[RowKey, RowValues] = {}
    for group, totals in _sums_by_group(old, common).items():
        keys = new_keys.get(group)
        if keys is None:
            credited[group] = totals
            continue
        shares = [share(totals[measure], [new[key][measure] for key in keys]) for measure in range(len(totals))]
        for position, key in enumerate(keys):
            credited[key] = tuple(column[position] for column in shares)
    return credited


def move_held(
    held: Rows, net: Mapping[RowKey, RowValues], present: Iterable[RowKey], common: Callable[[RowKey], RowKey]
) -> dict[RowKey, RowValues]:
    """Move held-back amounts to keys of the new grain, first to those whose growth in this very poll absorbs them.

    Args:
        held: the held-back amounts at the old grain.
        net: the poll's net change per key of the new grain.
        present: every key the answer holds.
        common: as for `credit`.
    """
    keys_by_group = _keys_by_group(present, common)
    moved: dict[RowKey, RowValues] = {}
    for group, totals in _sums_by_group(held, common).items():
        keys = keys_by_group.get(group, [group])
        amounts = [list[Amount]() for _ in keys]
        for measure, owed in enumerate(totals):
            left = owed
            for position, key in enumerate(keys):
                growth = net[key][measure] if key in net else 0
                taken = min(left, growth) if growth > 0 else 0
                amounts[position].append(taken)
                left = subtract(left, taken)
            amounts[0][measure] = add(amounts[0][measure], left)
        for key, values in zip(keys, amounts, strict=True):
            if any(values):
                moved[key] = tuple(values)
    return moved


def common_grain(dimensions: Sequence[str], old: Iterable[str], new: Iterable[str]) -> Callable[[RowKey], RowKey]:
    """Return the function that reduces a key to the dimensions both groupings have.

    A key's elements beyond `dimensions` (the currency of costs) are always kept.
    """
    kept = set(old) & set(new)
    keep = [dimension in kept for dimension in dimensions]

    def reduce(key: RowKey) -> RowKey:
        return (
            *(value if kept_here else None for value, kept_here in zip(key, keep, strict=False)),
            *key[len(keep) :],
        )

    return reduce


def share(whole: Amount, wanted: Sequence[Amount]) -> list[Amount]:
    """Split `whole` over `wanted` in proportion, exactly, no share above what is wanted.

    Where that cannot be (the whole exceeds what is wanted, or credits make amounts negative) each gets what it wants
    and the largest takes the difference, so that all that is left over falls on one key.
    """
    sum_wanted = total(wanted)
    if whole < 0 or whole > sum_wanted or any(amount < 0 for amount in wanted):
        shares = list(wanted)
        largest = max(range(len(shares)), key=lambda position: shares[position])
        shares[largest] = add(shares[largest], subtract(whole, sum_wanted))
        return shares
    if not sum_wanted:
        return [0] * len(wanted)
    decimals = max(_decimals(amount) for amount in (whole, *wanted))
    units, all_units = _units(whole, decimals), _units(sum_wanted, decimals)
    shares = []
    reached = given = 0
    for amount in wanted:
        # Rounding the running sum, not the parts: the parts then sum to the whole.
        reached += _units(amount, decimals)
        next_given = reached * units // all_units
        shares.append(_amount(next_given - given, decimals))
        given = next_given
    return shares


def _keys_by_group(keys: Iterable[RowKey], common: Callable[[RowKey], RowKey]) -> dict[RowKey, list[RowKey]]:
    groups: dict[RowKey, list[RowKey]] = {}
    # Sorted, so that the order of rows in an answer changes nothing.
    for key in sorted(keys, key=lambda key: tuple(element or "" for element in key)):
        groups.setdefault(common(key), []).append(key)
    return groups


def _sums_by_group(rows: Rows, common: Callable[[RowKey], RowKey]) -> dict[RowKey, RowValues]:
    sums: dict[RowKey, RowValues] = {}
    for key, values in rows.items():
        group = common(key)
        sums[group] = add_each(sums[group], values) if group in sums else values
    return sums


def _decimals(amount: Amount) -> int:
    if isinstance(amount, int):
        return 0
    exponent = amount.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _units(amount: Amount, decimals: int) -> int:
    return amount * 10**decimals if isinstance(amount, int) else int(EXACT.scaleb(amount, decimals))


def _amount(units: int, decimals: int) -> Amount:
    return units if decimals == 0 else EXACT.scaleb(EXACT.create_decimal(units), -decimals).normalize(EXACT)
