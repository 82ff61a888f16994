"""What is cut off, damaged or changes on the way is played as far as it goes, and the notes say so. Real files."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest

from registry.video import video
from registry.video.video import Frame, Reader
from tests.clips import make_clip, scene


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


def test_damage_in_the_middle_loses_only_what_is_damaged() -> None:
    body = bytearray(make_clip(40, codec="mpeg4", encoder={"g": "5"}))
    at = body.index(b"mdat") + len(body) // 3
    body[at : at + 60] = bytes(range(60))
    clip = video.open_clip(bytes(body))
    assert 25 <= len(list(video.frames(clip))) <= 40


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
