"""Keys made of parts: their order, that no two are alike, and their length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstate.adapters.keys import PART_BYTES_MAX, cut, key, texts

# Texts with what is escaped, and long ones.
TEXTS = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="\x00\x01\x02ab", max_size=12),
    st.text(alphabet="\x01ab", min_size=100, max_size=200),
)
SHORT = st.text(alphabet="\x00\x01\x02\x03abé", max_size=8)


@given(st.lists(SHORT, max_size=4), st.lists(SHORT, max_size=4))
def test_keys_sort_as_their_parts_do(one: list[str], other: list[str]) -> None:
    """
    Also where a part is the beginning of another one, or empty, or holds what ends parts.
    """
    as_bytes = [[part.encode() for part in parts] for parts in (one, other)]
    assert (key(*one) < key(*other)) == (as_bytes[0] < as_bytes[1])


@given(st.lists(TEXTS, max_size=3), st.lists(TEXTS, max_size=3))
def test_a_prefix_is_one_of_whole_parts(one: list[str], other: list[str]) -> None:
    """
    A key begins with another one just when its parts do: "a" is not the beginning of "ab".
    """
    assert key(*other).startswith(key(*one)) == (other[: len(one)] == one)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_numbers_sort_as_numbers(one: int, other: int) -> None:
    """
    9 comes before 10.
    """
    assert (key("a", one) < key("a", other)) == (one < other)


@given(st.text(min_size=0, max_size=2_000), st.text(max_size=2_000), st.text(max_size=2_000))
def test_three_texts_of_any_length_fit(one: str, two: str, three: str) -> None:
    """
    The store takes 480 bytes, of which a zero byte counts twice; there is none.
    """
    made = key("langgraph", one, two, three, 7)
    assert len(made) <= 480 and b"\x00" not in made


def test_long_parts_that_differ_at_their_end_differ() -> None:
    """
    What is cut is told apart by a digest, which no text can be mistaken for.
    """
    long = "x" * (PART_BYTES_MAX + 1)
    assert key(long) != key(long + "y")
    assert key(long) != key(long[:PART_BYTES_MAX])


def test_lone_surrogates_are_texts() -> None:
    """
    Python's texts hold them, and so may ids that come from somewhere else.
    """
    assert key("\ud800") != key("\ud801")


@given(st.lists(SHORT, max_size=5))
def test_a_key_tells_what_it_was_made_of(parts: list[str]) -> None:
    """
    Its texts come back, unless one of them was cut, or stands for others.
    """
    assert texts(key(*parts)) == tuple(parts)
    assert texts(key(*parts, "x" * (PART_BYTES_MAX + 1))) is None
    assert texts(key(*parts) + cut("digest")) is None


@pytest.mark.parametrize("written", [b"a", b"a\x02", b"\x02\x09\x01"])
def test_what_is_no_key_of_parts_is_said_to_be_none(written: bytes) -> None:
    """
    A part without its end, and an escape of nothing.
    """
    with pytest.raises(ValueError, match="part"):
        texts(written)


@given(SHORT)
def test_what_stands_for_parts_is_no_part(part: str) -> None:
    """
    No text has the key of a digest.
    """
    assert key(part) != cut(part)
