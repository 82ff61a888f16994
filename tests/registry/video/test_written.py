"""What is read and written again has the same times, sizes and sound. Real files."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from registry.video import video
from registry.video.reader import MAX_FRAME_PIXELS
from registry.video.webm import square_size
from tests.clips import make_clip, scene
from tests.registry.video.rewriting import written


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


@pytest.mark.parametrize(("size", "aspect"), [((4096, 4096), 9.0), ((4096, 4096), 1 / 9), ((4000, 100), 9.9)])
def test_making_pixels_square_keeps_the_limit_of_pixels_and_the_shape(size: tuple[int, int], aspect: float) -> None:
    width, height = square_size(*size, aspect)
    assert width * height <= 1.001 * MAX_FRAME_PIXELS
    assert width / height == pytest.approx(size[0] * aspect / size[1], rel=0.01)


@pytest.mark.parametrize(("aspect", "size"), [(Fraction(4, 3), (128, 64)), (Fraction(1, 2), (96, 128))])
def test_pixels_that_are_not_square_are_made_so(aspect: Fraction, size: tuple[int, int]) -> None:
    clip = video.open_clip(make_clip(4, aspect=aspect))
    assert (clip.width, clip.height) == (96, 64)
    again = video.open_clip(written(clip))
    assert (again.width, again.height) == size


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
