"""Videos in and out: refusals, times, rotation, sound, odd sizes. Real files, made by `tests.clips`."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from registry.errors import BadInput, TooLarge, UnsupportedMedia
from registry.media import Clip
from registry.vision import video
from registry.vision.video import Frame, Reader
from registry.vision.webm import WebmWriter
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
        (only_sound(), BadInput, "no picture track: it holds audio"),
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
    assert caught.value.mend


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


def test_frames_that_change_their_size_are_brought_to_the_first_ones() -> None:
    reader = Reader(video.open_clip(joined((64, 48), (96, 72))))
    shapes = [item.pixels.shape for item in reader.play() if isinstance(item, Frame)]
    reader.close()
    assert shapes == [(48, 64, 3)] * 6
    assert "changes in the middle" in reader.notes[0]


def test_frames_that_suddenly_become_huge_are_never_allocated() -> None:
    clip = video.open_clip(joined((64, 48), (1536, 1024)))
    assert clip.frames == 6
    assert len(list(video.frames(clip))) == 3
