"""JSON bodies that are small and would be large once parsed: refused before they are."""

from __future__ import annotations

import tracemalloc

import pytest

from registry.core.errors import BadInput, TooLarge
from serving.wire.json_inputs import parse_inputs

MOST = 16


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        pytest.param(b'{"inputs": [1' + b",1" * 15_000 + b"]}", TooLarge, "more than 16 files", id="numbers"),
        pytest.param(b'{"inputs": [1' + b",1" * 500_000 + b"]}", BadInput, "a list of texts", id="more numbers"),
        pytest.param(b'{"urls": [""' + b',""' * 500_000 + b"]}", BadInput, "a list of texts", id="texts"),
        pytest.param(b'{"inputs": [[]' + b",[]" * 500_000 + b"]}", BadInput, "a list of texts", id="lists"),
        pytest.param(b'{"inputs": ' + b"[" * 500_000 + b"]" * 500_000 + b"}", BadInput, "a list of texts", id="depth"),
        pytest.param(b'{"a":1' + b',"a":1' * 500_000 + b"}", BadInput, "a list of texts", id="keys"),
        pytest.param(b'{"input": ' + b"1" * 2_000_000 + b"}", BadInput, "not JSON", id="digits"),
        pytest.param(b'{"input": "' + b"A" * 2_000_000 + b'\xf0\x9f\x98\x80"}', BadInput, "not base64", id="wide"),
        pytest.param(
            b'{"input": "' + b"A" * 2_000_000 + b'\\ud83d\\ude00"}', BadInput, "not base64", id="wide, escaped"
        ),
    ],
)
def test_what_is_refused_takes_no_more_than_its_size_twice(body: bytes, error: type[BadInput], says: str) -> None:
    tracemalloc.start()
    with pytest.raises(error, match=says):
        parse_inputs(body, MOST)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * len(body) + (1 << 20)


@pytest.mark.parametrize("plus", ["+", "\\u002b", "\\u002B"])
@pytest.mark.parametrize("slash", ["/", "\\/"])
def test_base64_as_encoders_escape_it_is_taken(plus: str, slash: str) -> None:
    text = ("+/AA" * 400_000).replace("+", plus).replace("/", slash)
    assert parse_inputs(b'{"input": "%s"}' % text.encode(), MOST) == ([b"\xfb\xf0\x00" * 400_000], False)
