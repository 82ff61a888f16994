"""Every container, pixel format, rotation and edit gives its frames at their times. Real files of `tests.clips`."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from registry.core.errors import UnsupportedMedia
from registry.video import video
from registry.video.reader import packets
from registry.vision.media_types import is_video
from registry.vision.picture import decode as decode_picture
from registry.vision.picture import to_jpeg
from tests.clips import make_clip, scene
from tests.registry.video.rewriting import written


@pytest.mark.parametrize(
    ("container", "codec", "pixel_format"),
    [
        ("mp4", "libx264", "yuv420p"),
        ("mp4", "libx264", "yuv420p10le"),
        ("matroska", "ffv1", "gray"),
        ("matroska", "ffv1", "bgra"),
        ("webm", "libvpx-vp9", "yuv420p"),
        ("webm", "libvpx", "yuv420p"),
        ("avi", "mpeg4", "yuv420p"),
        ("avi", "mjpeg", "yuvj420p"),
        ("mpegts", "libx264", "yuv420p"),
        ("mov", "mpeg4", "yuv420p"),
        ("flv", "flv1", "yuv420p"),
    ],
)
def test_every_container_and_pixel_format_gives_its_frames(container: str, codec: str, pixel_format: str) -> None:
    try:
        body = make_clip(12, container=container, codec=codec, pixel_format=pixel_format)
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this build of FFmpeg does not write {codec}")
    clip = video.open_clip(body)
    assert (clip.width, clip.height, clip.frames, clip.notes) == (96, 64, 12, ())
    assert clip.seconds == pytest.approx(1.2, abs=0.11)
    frames = list(video.frames(clip))
    assert [frame.number for frame in frames] == list(range(12))
    assert np.abs(np.diff([frame.at for frame in frames]) - 0.1).max() < 0.011
    for frame in (frames[0], frames[7]):
        wanted = scene(frame.number, 96, 64)
        if pixel_format == "gray":
            assert frame.pixels[5, 5].min() > 240
            assert np.ptp(frame.pixels[40, 20]) == 0
        else:
            assert np.abs(frame.pixels.astype(int) - wanted).mean() < 12


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_the_stored_rotation_is_applied(rotation: int) -> None:
    clip = video.open_clip(make_clip(3, rotation=rotation))
    assert clip.rotation == rotation
    assert (clip.width, clip.height) == ((96, 64) if rotation % 180 == 0 else (64, 96))
    pixels = next(iter(video.frames(clip))).pixels
    white = {0: (0, 0), 90: (0, -1), 180: (-1, -1), 270: (-1, 0)}[rotation]
    corners = {(y, x): float(pixels[y, x].mean()) for y in (0, -1) for x in (0, -1)}
    assert max(corners, key=corners.__getitem__) == white
    assert min(corners[white] - value for corner, value in corners.items() if corner != white) > 100
    again = video.open_clip(written(clip))
    assert (again.width, again.height, again.rotation) == (clip.width, clip.height, 0)


def test_a_track_that_begins_in_the_middle_costs_no_frame_of_the_others() -> None:
    """PyAV raises IndexError for its packets, as in transport streams whose sound begins later."""

    class Container:
        def __init__(self) -> None:
            self.left = [0, 1, IndexError(), 2, IndexError(), IndexError(), 3]

        def demux(self, *_: object) -> Iterator[int]:
            while self.left:
                one = self.left.pop(0)
                if isinstance(one, IndexError):
                    raise one
                yield one

    assert list(packets(Container())) == [0, 1, 2, 3]  # type: ignore[arg-type]


EIGHT = {  # a b c d of the display matrix -> what a player makes of a picture
    (1, 0, 0, 1): lambda a: a,
    (-1, 0, 0, 1): lambda a: a[:, ::-1],
    (1, 0, 0, -1): lambda a: a[::-1],
    (-1, 0, 0, -1): lambda a: a[::-1, ::-1],
    (0, 1, -1, 0): lambda a: np.rot90(a, -1),
    (0, -1, 1, 0): lambda a: np.rot90(a, 1),
    (0, 1, 1, 0): lambda a: a.swapaxes(0, 1),
    (0, -1, -1, 0): lambda a: a[::-1, ::-1].swapaxes(0, 1),
}


def with_matrix(body: bytes, matrix: tuple[int, int, int, int]) -> bytes:
    """The MP4 with another display matrix in its track header (ISO/IEC 14496-12, 8.3.2)."""
    at = body.index(b"tkhd") + 4 + 40
    a, b, c, d = (65536 * n for n in matrix)
    return body[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + body[at + 36 :]


@pytest.mark.parametrize("matrix", EIGHT)
def test_a_display_matrix_that_mirrors_or_turns_is_applied(matrix: tuple[int, int, int, int]) -> None:
    stored = next(iter(video.frames(video.open_clip(make_clip(3))))).pixels
    clip = video.open_clip(with_matrix(make_clip(3), matrix))
    found = next(iter(video.frames(clip))).pixels
    assert (clip.width, clip.height) == (found.shape[1], found.shape[0])
    assert (found == EIGHT[matrix](stored)).all()


def with_edits(body: bytes, *edits: tuple[int, int]) -> bytes:
    """The MP4 with an edit list (ISO/IEC 14496-12, 8.6.6) of (milliseconds, first in the media's own time), in place
    of its own, which must not be shorter."""
    at = body.index(b"elst") - 4
    size = int.from_bytes(body[at : at + 4], "big")
    rows = b"".join(struct.pack(">IiI", duration, start, 1 << 16) for duration, start in edits)
    box = struct.pack(">I4sII", 16 + len(rows), b"elst", 0, len(edits)) + rows
    if len(box) < size:
        box += struct.pack(">I4s", size - len(box), b"free") + bytes(size - len(box) - 8)
    assert len(box) == size
    return body[:at] + box + body[at + size :]


@pytest.mark.parametrize(("first", "last"), [(0, 40), (18, 40), (0, 25), (7, 25)])
def test_an_edit_list_cuts_without_a_word_of_damage(first: int, last: int) -> None:
    body = make_clip(40, fps=25)
    start = struct.unpack(">i", body[body.index(b"elst") + 16 : body.index(b"elst") + 20])[0]
    per_frame = 512  # of the 12800 a second that FFmpeg writes for 25 frames a second
    clip = video.open_clip(with_edits(body, ((last - first) * 40, start + first * per_frame)))
    frames = list(video.frames(clip))
    assert clip.notes == ()
    assert clip.frames == len(frames) == last - first
    assert clip.seconds == pytest.approx(0.04 * (last - first))
    assert clip.fps == pytest.approx(25)
    assert frames[0].at == 0
    assert np.abs(frames[0].pixels.astype(int) - scene(first, 96, 64)).mean() < 12


SHOWN = {"libvpx": 0x10, "libvpx-vp9": 0x02}  # the bit of show_frame in a frame's first byte


def with_hidden_frames(codec: str, together: bool) -> bytes:
    """Before each keyframe the same one, not to be shown: in a packet of its own a millisecond earlier, or (VP9) as a
    superframe with the shown one, as the encoder writes alternate references."""
    file = io.BytesIO()
    source = make_clip(60, container="webm", codec=codec, encoder={"g": "10", "lag-in-frames": "0"})
    as_they_are = {"fflags": "-autobsf"}  # else FFmpeg makes superframes of them
    with av.open(io.BytesIO(source)) as stored, av.open(file, "w", "matroska", options=as_they_are) as out:
        stream = out.add_stream_from_template(stored.streams.video[0])
        for packet in stored.demux(video=0):
            data = bytes(packet)
            if not data:
                continue
            pieces = [(data, packet.pts)]
            if packet.is_keyframe:
                hidden = bytes([data[0] & ~SHOWN[codec]]) + data[1:]
                sizes = struct.pack("<HH", len(hidden), len(data))
                superframe = hidden + data + b"\xc9" + sizes + b"\xc9"  # two frames, two bytes a size
                pieces = [(superframe, packet.pts)] if together else [(hidden, packet.pts - 1), *pieces]
            for content, pts in pieces:
                piece = av.Packet(content)
                piece.stream, piece.time_base = stream, packet.time_base
                piece.pts = piece.dts = pts + 1
                piece.is_keyframe = packet.is_keyframe
                out.mux(piece)
    return file.getvalue()


@pytest.mark.parametrize(
    ("codec", "together"), [("libvpx", False), ("libvpx-vp9", False), ("libvpx-vp9", True)],
    ids=["VP8", "VP9", "VP9 superframes"],
)  # fmt: skip
def test_frames_that_are_never_shown_are_not_counted(codec: str, together: bool) -> None:
    body = with_hidden_frames(codec, together)
    with av.open(io.BytesIO(body)) as file:
        assert sum(packet.size > 0 for packet in file.demux(video=0)) == (60 if together else 66)
    clip = video.open_clip(body)
    assert (clip.frames, clip.notes) == (60, ())
    assert clip.fps == pytest.approx(10, abs=0.02)
    assert len(list(video.frames(clip))) == 60


BEGINNINGS = {
    "free": [(b"free", 8)], "skip": [(b"skip", 29)], "wide": [(b"wide", 8)], "uuid": [(b"uuid", 700)],
    "pnot": [(b"pnot", 20), (b"PICT", 3000)], "several": [(b"wide", 8), (b"free", 1000), (b"skip", 8)],
}  # fmt: skip


@pytest.mark.parametrize("name", BEGINNINGS)
@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_a_file_may_begin_with_boxes_that_say_nothing(name: str, container: str, tmp_path: Path) -> None:
    # The index in front and relative to nothing else: fragments, which do not count bytes from the file's beginning.
    flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    body = make_clip(6, container=container, options=flags, path=tmp_path / "clip")
    boxes = b"".join(struct.pack(">I", size) + kind + bytes(size - 8) for kind, size in BEGINNINGS[name])
    clip = video.open_clip(boxes + body)
    assert clip.format == {"mp4": "MP4", "mov": "QuickTime"}[container]
    assert len(list(video.frames(clip))) == 6


@pytest.mark.parametrize("size", [188, 192, 204])
@pytest.mark.parametrize("cut", [1, 100, 187, 1000])
def test_a_transport_stream_may_begin_in_the_middle_of_a_packet(size: int, cut: int) -> None:
    whole = make_clip(30, container="mpegts", encoder={"g": "5"})
    packets = [whole[n : n + 188] for n in range(0, len(whole), 188)]
    before, after = (4, 0) if size == 192 else (0, size - 188)
    stream = b"".join(bytes(before) + packet + bytes(after) for packet in packets)
    clip = video.open_clip(bytes([0x11]) * cut + stream)
    assert clip.format == "MPEG-TS"
    assert len(list(video.frames(clip))) >= 20


def jpegs(count: int, size: tuple[int, int] = (96, 64)) -> list[bytes]:
    return [to_jpeg(scene(n, *size)) for n in range(count)]


def test_jpegs_in_a_row_are_a_video_and_no_picture() -> None:
    body = b"".join(jpegs(20))
    clip = video.open_clip(body)
    assert (clip.frames, clip.format, clip.fps) == (20, "Motion JPEG", 25)
    frames = list(video.frames(clip))
    assert [frame.at for frame in frames] == pytest.approx([n / 25 for n in range(20)], abs=0.001)
    assert np.abs(frames[7].pixels.astype(int) - scene(7, 96, 64)).mean() < 4
    with pytest.raises(UnsupportedMedia, match=r"a video \(Motion JPEG\)"):
        decode_picture(body, 10**7)


def test_a_jpeg_with_a_preview_a_gain_map_or_a_film_is_a_picture() -> None:
    first, second = jpegs(2)
    gain_map = first[:2] + b"\xff\xe2\x00\x10MPF\0" + bytes(10) + first[2:] + second
    preview = first + to_jpeg(scene(0, 32, 24))
    exif = first[:2] + b"\xff\xe1" + struct.pack(">H", 8 + 2 * len(second)) + b"Exif\0\0" + 2 * second + first[2:]
    film = first + make_clip(3)
    for body in (gain_map, preview, exif, film):
        assert not is_video(body)
        assert decode_picture(body, 10**7).pixels.shape == (64, 96, 3)
