"""Videos in and out: refusals, times, rotation, sound, odd sizes. Real files, made by `tests.clips`."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from registry.core.errors import BadInput, TooLarge, UnsupportedMedia
from registry.core.media import Clip
from registry.vision.media_types import is_video
from registry.vision.picture import decode as decode_picture
from registry.vision.picture import to_jpeg
from registry.vision.video import video
from registry.vision.video.reader import MAX_FRAME_PIXELS, packets
from registry.vision.video.video import Frame, Reader
from registry.vision.video.webm import WebmWriter, square_size
from tests.clips import make_clip, scene

CENC = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
    "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
}


def written(clip: Clip) -> bytes:
    """The clip as WebM, frames and sound, unchanged."""
    reader = Reader(clip)
    writer = WebmWriter(clip.width, clip.height, clip.fps, clip.seconds, reader.aspect, reader.sound)
    for item in reader.play(sound=True):
        if isinstance(item, Frame):
            writer.add(item.pixels, item.at, item.lasts)
        else:
            writer.sound(item.packet, reader.start)
    body = writer.close()
    reader.close()
    return body


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


def without_times(frames: int) -> bytes:
    """An MP4 from a program that counted frames where times were wanted: they are 11 microseconds apart."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90_000)
        for n in range(frames):
            frame = av.VideoFrame.from_ndarray(scene(n, 64, 48), format="bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, 90_000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


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
    ("body", "kind", "says"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(500), UnsupportedMedia, "not a video"),
        (b"", UnsupportedMedia, "not a video"),
        (make_clip()[:300], BadInput, "its index is missing or damaged"),
        (b"\x1aE\xdf\xa3" + bytes(300), BadInput, "cannot be opened"),
        (only_sound(), BadInput, "no video track: it holds only audio"),
        (no_frames(), BadInput, "no frames"),
        (of_unknown_codec(), UnsupportedMedia, "codec"),
        (make_clip(options=CENC), BadInput, "encrypted"),
        (make_clip(2, (8, 4), codec="ffv1", container="matroska"), BadInput, "8 x 4"),
    ],
    ids=["png", "empty", "cut", "rubbish", "sound", "no-frames", "codec", "encrypted", "tiny"],
)
def test_what_cannot_be_played_is_refused_with_one_clear_message(body: bytes, kind: type[BadInput], says: str) -> None:
    with pytest.raises(kind) as caught:
        video.open_clip(body)
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


def test_frames_after_a_damaged_beginning_keep_their_times() -> None:
    body = bytearray(make_clip(40, encoder={"g": "10", "bf": "0"}))
    with av.open(io.BytesIO(bytes(body))) as file:
        for packet in list(file.demux(video=0))[:10]:
            body[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    clip = video.open_clip(bytes(body))
    frames = list(video.frames(clip))
    assert 0 < len(frames) <= 30
    assert frames[0].at >= 1.0
    for frame in frames:
        assert np.abs(frame.pixels.astype(int) - scene(round(10 * frame.at), 96, 64)).mean() < 12
    assert frames[-1].at == pytest.approx(3.9)


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


def test_what_only_looks_like_a_transport_stream_is_none() -> None:
    for body in (b"G" * 5000, b"\x13" + b"\x47" * 5000, b"some text " * 900):
        assert not is_video(body)


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


def test_frames_that_were_dropped_while_recording_are_no_damage() -> None:
    """AVI stores an empty chunk for each; a player shows the frame before for longer."""
    body = make_clip(20, container="avi", codec="mjpeg", pixel_format="yuvj420p")
    movi = body.index(b"movi")
    end = movi + int.from_bytes(body[movi - 4 : movi], "little")
    at, chunks = movi + 4, b"movi"
    for n in range(20):
        size = int.from_bytes(body[at + 4 : at + 8], "little")
        stored = body[at + 8 : at + 8 + size] if n % 4 != 2 else b""
        chunks += b"00dc" + struct.pack("<I", len(stored)) + stored + bytes(len(stored) % 2)
        at += 8 + size + size % 2
    assert at <= end
    whole = body[: movi - 4] + struct.pack("<I", len(chunks)) + chunks
    whole = whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]
    clip = video.open_clip(whole)
    assert clip.notes == ()
    assert clip.seconds == pytest.approx(2.0)
    times = [n / 10 for n in range(20) if n % 4 != 2]
    assert [frame.at for frame in video.frames(clip)] == pytest.approx(times, abs=0.001)
    assert "cut off" in video.open_clip(whole[: len(whole) * 2 // 3]).notes[0]


@pytest.mark.parametrize("share", [0.65, 0.85])
def test_a_truncated_video_is_taken_as_far_as_it_goes(share: float) -> None:
    body = make_clip(40, container="matroska")
    clip = video.open_clip(body[: int(share * len(body))])
    assert 0 < clip.frames < 40
    assert "cut off" in clip.notes[0]
    assert 0 < len(list(video.frames(clip))) <= clip.frames


def test_a_truncated_mp4_with_its_index_in_front_says_how_much_is_there(tmp_path: Path) -> None:
    file = tmp_path / "clip.mp4"
    body = make_clip(40, encoder={"g": "10"}, path=file, options={"movflags": "faststart"})
    assert body.index(b"moov") < body.index(b"mdat")
    clip = video.open_clip(body[: len(body) * 8 // 10])
    assert 5 < clip.frames < 40
    assert clip.notes == (f"the file is cut off: {clip.frames} of 40 frames are there",)
    assert 0 < len(list(video.frames(clip))) <= clip.frames


@pytest.mark.parametrize(("aspect", "size"), [(Fraction(4, 3), (128, 64)), (Fraction(1, 2), (96, 128))])
def test_pixels_that_are_not_square_are_made_so(aspect: Fraction, size: tuple[int, int]) -> None:
    clip = video.open_clip(make_clip(4, aspect=aspect))
    assert (clip.width, clip.height) == (96, 64)
    again = video.open_clip(written(clip))
    assert (again.width, again.height) == size


@pytest.mark.parametrize(("size", "aspect"), [((4096, 4096), 9.0), ((4096, 4096), 1 / 9), ((4000, 100), 9.9)])
def test_making_pixels_square_keeps_the_limit_of_pixels_and_the_shape(size: tuple[int, int], aspect: float) -> None:
    width, height = square_size(*size, aspect)
    assert width * height <= 1.001 * MAX_FRAME_PIXELS
    assert width / height == pytest.approx(size[0] * aspect / size[1], rel=0.01)


def test_damage_in_the_middle_loses_only_what_is_damaged() -> None:
    body = bytearray(make_clip(40, codec="mpeg4", encoder={"g": "5"}))
    at = body.index(b"mdat") + len(body) // 3
    body[at : at + 60] = bytes(range(60))
    clip = video.open_clip(bytes(body))
    assert 25 <= len(list(video.frames(clip))) <= 40


def test_a_variable_frame_rate_keeps_its_times() -> None:
    times = [0.0, 0.04, 0.2, 0.21, 0.9, 1.0, 1.5]
    clip = video.open_clip(make_clip(7, times=times, container="matroska", codec="mpeg4"))
    assert [frame.at for frame in video.frames(clip)] == pytest.approx(times, abs=0.002)
    again = video.open_clip(written(clip))
    assert [frame.at for frame in video.frames(again)] == pytest.approx(times, abs=0.002)
    assert again.seconds == pytest.approx(clip.seconds, abs=0.02)


def test_frames_at_nearly_the_same_time_are_a_millisecond_apart() -> None:
    clip = video.open_clip(without_times(120))
    assert (clip.frames, clip.fps, clip.seconds) == (120, pytest.approx(1000), pytest.approx(0.12))
    assert [frame.at for frame in video.frames(clip)] == pytest.approx([n / 1000 for n in range(120)])
    assert video.open_clip(written(clip)).frames == 120


@pytest.mark.parametrize("size", [(97, 65), (33, 64), (64, 33), (96, 64)])
def test_odd_sizes_stay_as_they_are(size: tuple[int, int]) -> None:
    clip = video.open_clip(make_clip(4, size, codec="ffv1", container="matroska", pixel_format="bgr0"))
    body = written(clip)
    again = video.open_clip(body)
    assert (again.width, again.height, again.frames) == (*size, 4)
    for frame in video.frames(again):
        assert np.abs(frame.pixels.astype(int) - scene(frame.number, *size)).mean() < 8


@pytest.mark.parametrize(
    ("container", "sound"), [("", ""), ("mp4", "aac"), ("matroska", "libopus"), ("webm", "libopus")]
)
def test_what_is_written_has_the_frames_duration_sound_and_an_index(container: str, sound: str) -> None:
    codec = "libvpx-vp9" if container == "webm" else "libx264"
    clip = video.open_clip(make_clip(50, container=container or "mp4", codec=codec, sound=sound))
    assert clip.audio == bool(sound)
    body = written(clip)
    again = video.open_clip(body)
    assert (again.format, again.frames, again.audio) == ("WebM", 50, bool(sound))
    assert again.seconds == pytest.approx(clip.seconds, abs=0.02)
    with av.open(io.BytesIO(body)) as file:
        assert file.streams.video[0].codec_context.name == "vp9"
        assert file.duration / 1e6 == pytest.approx(5.0, abs=0.05)
        if sound:
            track = file.streams.audio[0]
            assert track.codec_context.name == "opus"
            heard = np.concatenate([f.to_ndarray().ravel() for f in file.decode(audio=0)])
            assert len(heard) / 48_000 == pytest.approx(5.0, abs=0.1)
            spectrum = np.abs(np.fft.rfft(heard[24_000:72_000]))
            assert int(spectrum.argmax()) == 440
    cues, clusters = bytes.fromhex("1c53bb6b"), bytes.fromhex("1f43b675")
    assert 0 < body.index(cues) < body.index(clusters), "the index must lie before the pictures"
    with av.open(io.BytesIO(body)) as file:
        keys = [p.pts / 1000 for p in file.demux(video=0) if p.size and p.is_keyframe]
    assert keys == pytest.approx([0, 2, 4], abs=0.01)


def test_sound_keeps_its_place_when_pictures_begin_later() -> None:
    body = make_clip(30, times=[0.5 + 0.1 * n for n in range(30)], container="matroska", codec="mpeg4", sound="libopus")
    again = written(video.open_clip(body))
    first = {}
    for kind in ("video", "audio"):
        with av.open(io.BytesIO(again)) as file:
            first[kind] = next(float(p.pts * p.time_base) for p in file.demux(**{kind: 0}) if p.size)
    assert first["video"] - first["audio"] == pytest.approx(0.5, abs=0.05)


def joined(first: tuple[int, int], second: tuple[int, int]) -> bytes:
    """Three frames of one size, then three of another, which VP9 allows in one stream."""
    file = io.BytesIO()
    bodies = [make_clip(3, size, container="webm", codec="libvpx-vp9") for size in (first, second)]
    with av.open(io.BytesIO(bodies[0])) as a, av.open(io.BytesIO(bodies[1])) as b, av.open(file, "w", "webm") as out:
        stream = out.add_stream_from_template(a.streams.video[0])
        for start, source in ((0, a), (300, b)):
            for packet in source.demux(video=0):
                if packet.size:
                    packet.pts += start
                    packet.dts = packet.pts
                    packet.stream = stream
                    out.mux(packet)
    return file.getvalue()


def test_frames_that_change_their_size_are_scaled_to_the_first() -> None:
    reader = Reader(video.open_clip(joined((64, 48), (96, 72))))
    shapes = [item.pixels.shape for item in reader.play() if isinstance(item, Frame)]
    reader.close()
    assert shapes == [(48, 64, 3)] * 6
    assert "frames change their size" in reader.notes[0]


def test_frames_that_suddenly_become_huge_are_never_allocated() -> None:
    clip = video.open_clip(joined((64, 48), (1536, 1024)))
    assert clip.frames == 6
    assert len(list(video.frames(clip))) == 3
