"""What is no video, cannot be played or is too large is refused, with one clear message. Real files."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import av
import numpy as np
import pytest

from registry.core.errors import BadInput, TooLarge, UnsupportedMedia
from registry.video import video
from registry.vision.media_types import is_video
from tests.clips import make_clip

CENC = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
    "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
}


def only_sound() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        tone = out.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        out.mux(tone.encode(frame))
        out.mux(tone.encode(None))
    return file.getvalue()


def no_frames() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        out.start_encoding()
    return file.getvalue()


def of_unknown_codec() -> bytes:
    body = make_clip()
    at = body.index(b"avc1", body.index(b"stsd"))
    return body[:at] + b"zzzz" + body[at + 4 :]


def of_huge_frames() -> bytes:
    """A Matroska header that says 30000 x 30000."""
    body = make_clip(1, (64, 48), container="matroska", codec="ffv1")
    width = body.index(b"\xb0\x81\x40\xba\x81\x30")
    return (
        body[:width]
        + b"\xb0\x82"
        + struct.pack(">H", 30000)
        + b"\xba\x82"
        + struct.pack(">H", 30000)
        + body[width + 6 :]
    )


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda: b"\x89PNG\r\n\x1a\n" + bytes(500), UnsupportedMedia, "not a video"),
        (bytes, UnsupportedMedia, "not a video"),
        (lambda: make_clip()[:300], BadInput, "its index is missing or damaged"),
        (lambda: b"\x1aE\xdf\xa3" + bytes(300), BadInput, "cannot be opened"),
        (only_sound, BadInput, "no video track: it holds only audio"),
        (no_frames, BadInput, "no frames"),
        (of_unknown_codec, UnsupportedMedia, "codec"),
        (lambda: make_clip(options=CENC), BadInput, "encrypted"),
        (lambda: make_clip(2, (8, 4), codec="ffv1", container="matroska"), BadInput, "8 x 4"),
    ],
    ids=["png", "empty", "cut", "rubbish", "sound", "no-frames", "codec", "encrypted", "tiny"],
)
def test_what_cannot_be_played_is_refused_with_one_clear_message(
    make: Callable[[], bytes], kind: type[BadInput], says: str
) -> None:
    with pytest.raises(kind) as caught:
        video.open_clip(make())
    assert says in caught.value.found
    assert caught.value.fix


def test_limits_are_kept() -> None:
    body = make_clip(30)
    assert video.open_clip(body, max_seconds=3.0).seconds == pytest.approx(3.0)
    with pytest.raises(TooLarge, match="lasts 3 s"):
        video.open_clip(body, max_seconds=2.9)
    with pytest.raises(TooLarge, match="96 x 64"):
        video.open_clip(body, max_pixels=96 * 64 - 1)


def test_a_frame_of_30000_by_30000_is_refused_without_allocating_it() -> None:
    import resource

    body = of_huge_frames()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TooLarge, match=r"30000 x 30000|megapixels"):
        video.open_clip(body)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_what_only_looks_like_a_transport_stream_is_none() -> None:
    for body in (b"G" * 5000, b"\x13" + b"\x47" * 5000, b"some text " * 900):
        assert not is_video(body)
