"""What a state has counted, and what truly happened: exactly, to the token and the nano-dollar."""

from collections import defaultdict
from decimal import Decimal

from exporter.days import SECONDS_PER_DAY, day_of
from exporter.exact import EXACT
from exporter.ledger.account import held_by_measure
from exporter.ledger.store import StoredState
from exporter.openai_api.endpoints import ENDPOINTS
from exporter.simulator.server import Simulator
from tests.end_to_end.simulated_days import REVISION_DAYS, measure_of, true_measures

Figures = dict[tuple[str, str], Decimal]
"""By API and measure."""


def counted(state: StoredState) -> Figures:
    """Return what the counters say, less what is held back."""
    sums: Figures = defaultdict(Decimal)
    for name, counter in state.counters.items():
        key = measure_of(name.family, dict(name.labels))
        sums[key] = EXACT.add(sums[key], Decimal(counter.value))
    for api, account in state.accounts.items():
        for measure, held in held_by_measure(ENDPOINTS[api], account).items():
            key = (api, measure)
            if measure.endswith("_tokens"):
                # Counters tell token types apart, and modalities by another label.
                key = (api, measure.removesuffix("_tokens").rpartition("_")[0])
            sums[key] = EXACT.subtract(sums[key], Decimal(held))
    return {key: amount for key, amount in sums.items() if amount}


def true(simulator: Simulator, began: float, now: float) -> Figures:
    """Return what the organization truly reported from `began` to `now`."""
    first_day, end = day_of(began) - REVISION_DAYS * SECONDS_PER_DAY, day_of(now) + SECONDS_PER_DAY
    sums: Figures = defaultdict(Decimal)
    for moment, apply in ((now, EXACT.add), (began, EXACT.subtract)):
        for api, rows in simulator.truth(first_day, end, as_of=moment).items():
            for row in rows:
                for measure, amount in true_measures(api, row).items():
                    sums[api, measure] = apply(sums[api, measure], amount)
    return {key: amount for key, amount in sums.items() if amount}


def differences(ours: Figures, theirs: Figures) -> list[str]:
    """Return what is not the same, a line each."""
    return [
        f"{' '.join(key)}: {ours.get(key, 0)} counted, {theirs.get(key, 0)} true"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key, 0) != theirs.get(key, 0)
    ]
