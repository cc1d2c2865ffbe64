"""Settings and strategies of the property-based tests: few examples, and the same ones every time."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

few = settings(
    derandomize=True,
    max_examples=80,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""Decorator of a property: 80 examples, chosen by the test alone."""
fewest = settings(few, max_examples=30)
"""The same for properties that write files of the lake."""

characters = st.characters(exclude_categories=["Cs"])
texts = st.text(characters, max_size=12)
awkward = st.sampled_from(
    ['"', '""', ";", ",", "\n", "\r\n", "\r", "\x00", "=1+1", "[", "]", " ", "\ufeff", "é", "-0", "1e9"]
)
fields = st.one_of(texts, awkward, st.integers().map(str), st.lists(awkward, max_size=4).map("".join))
"""Text of a field of a table, often with characters that have a meaning in one."""


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw a file that was right: a part of it is cut off, replaced, repeated or inserted."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(changed)))
        end = draw(st.integers(start, min(len(changed), start + 64)))
        if draw(st.booleans()):
            changed[start:end] = draw(st.binary(max_size=24))
        else:
            del changed[start if draw(st.booleans()) else 0 : end]
    return bytes(changed)
