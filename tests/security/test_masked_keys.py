"""What a server repeats of the admin key is masked, whole or in pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.openai_api.admin_key import AdminKey

KEY = "sk-admin-Zq3vTn8LwX1cRb6YpKf0"
MASK = "<admin key>"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Incorrect key: {KEY}.", f"Incorrect key: {MASK}."),
        (f"{KEY}", MASK),
        (f"{KEY}{KEY}", f"{MASK}{MASK}"),
        (f"{KEY} {KEY}", f"{MASK} {MASK}"),
        (f"masked as {KEY[:20]}***", f"masked as {MASK}***"),
        (f"masked as ***{KEY[-12:]}", f"masked as ***{MASK}"),
        (f"cut {KEY[5:19]} out", f"cut {MASK} out"),
        (f"the last four are {KEY[-4:]}", f"the last four are {KEY[-4:]}"),
        (f"eleven {KEY[10:21]} are none", f"eleven {KEY[10:21]} are none"),
        ("use an admin key (sk-admin-...)", "use an admin key (sk-admin-...)"),
        ("", ""),
    ],
)
def test_a_key_and_any_dozen_of_its_characters_are_masked(text: str, shown: str) -> None:
    assert AdminKey(KEY).remove_from(text) == shown


@pytest.mark.parametrize("key", ["k", "short-key"])
def test_a_short_key_is_masked_whole(key: str) -> None:
    assert AdminKey(key).remove_from(f"({key}) {key[:-1]}!") == f"({MASK}) {key[:-1]}!"


@given(st.lists(st.one_of(st.text(max_size=20), st.tuples(st.integers(0, 28), st.integers(0, 28))), max_size=8))
def test_nothing_but_pieces_of_the_key_is_lost_and_no_piece_is_left(parts: list[str | tuple[int, int]]) -> None:
    text = "".join(part if isinstance(part, str) else KEY[part[0] : part[1]] for part in parts)
    shown = AdminKey(KEY).remove_from(text)
    pieces = [KEY[start : start + 12] for start in range(len(KEY) - 11)]
    assert not any(piece in shown for piece in pieces)
    if not any(piece in text for piece in pieces):
        assert shown == text
    # What stands between the masks stood in the text, in this order.
    place = 0
    for kept in shown.split(MASK):
        place = text.index(kept, place) + len(kept)
