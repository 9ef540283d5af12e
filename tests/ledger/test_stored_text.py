"""The state's texts are put together by hand; as keys they must stay what JSON makes of them, in every release."""

import json
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from exporter.ledger import store
from exporter.openai_api.endpoints import ENDPOINTS, Endpoint

COMPLETIONS = ENDPOINTS["usage/completions"]


def _key_names(endpoint: Endpoint) -> tuple[str, ...]:
    return store._key_names(endpoint)


@given(st.tuples(*[st.none() | st.text(max_size=5)] * len(_key_names(COMPLETIONS))))
def test_a_key_is_stored_as_json_spells_it(key: tuple[str | None, ...]) -> None:
    said = {name: value for name, value in zip(_key_names(COMPLETIONS), key, strict=True) if value is not None}
    assert store._encode_key(COMPLETIONS, key) == json.dumps(said)


AMOUNTS = st.integers(0, 2**63) | st.decimals(allow_nan=False, allow_infinity=False) | st.just(Decimal("1E-36"))


@given(st.tuples(*[AMOUNTS] * len(COMPLETIONS.measures)))
def test_values_are_stored_as_json_spells_them_and_come_back_equal(values: tuple[int | Decimal, ...]) -> None:
    said = {name: str(value) for name, value in zip(COMPLETIONS.measures, values, strict=True) if value}
    assert store._encode_values(COMPLETIONS, values) == json.dumps(said)
