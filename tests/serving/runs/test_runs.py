"""An upload becomes a prediction and its files, over real HTTP."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
from contextlib import closing

import httpx
import pytest

from registry.core.settings import settings
from registry.vision.picture import to_jpeg
from tests.bundles import MODEL, make_scan
from tests.clips import make_clip, scene
from tests.registry.vision.pictures import claiming
from tests.serving.runs.asking import begin, over, send, upload
from tests.waiting import until

PICTURE = to_jpeg(scene(1, 320, 240))
FRAMES = 24


def test_a_picture_becomes_an_answer_and_its_files(anna: httpx.Client, detector: str) -> None:
    identity = upload(anna, detector, "a street.jpg", PICTURE)
    assert over(anna, identity)["state"] == "done"
    answer = anna.get(f"/files/{identity}/answer.json")
    assert {one["class"] for one in answer.json()["detections"]} == {"sports ball", "book"}
    assert "image" not in answer.json()
    assert anna.get(f"/files/{identity}/input").content == PICTURE
    for name in ("annotated.jpg", "thumbnail.jpg"):
        shown = anna.get(f"/files/{identity}/{name}")
        assert (shown.headers["content-type"], shown.content[:3]) == ("image/jpeg", b"\xff\xd8\xff")
    with zipfile.ZipFile(io.BytesIO(anna.get(f"/files/{identity}/all.zip").content)) as packed:
        assert packed.testzip() is None
        assert packed.read("a street.jpg") == PICTURE
        assert json.loads(packed.read("run.json"))["classes"] == ["sports ball", "book"]


def test_nothing_of_it_is_on_the_disk_in_the_clear(anna: httpx.Client, detector: str) -> None:
    identity = upload(anna, detector, "secret.jpg", PICTURE)
    over(anna, identity)
    kept = list((settings().var / "web" / identity).iterdir())
    assert len(kept) >= 4
    for path in kept:
        content = path.read_bytes()
        assert b"\xff\xd8\xff\xe0" not in content
        assert b"detections" not in content


def test_a_video_becomes_a_video_and_what_is_in_each_frame(anna: httpx.Client, detector: str) -> None:
    identity = upload(anna, detector, "walk.mp4", make_clip(FRAMES, (96, 64)))
    assert over(anna, identity)["state"] == "done"
    assert len(anna.get(f"/files/{identity}/answer.json").json()["detections"]) == FRAMES
    whole = anna.get(f"/files/{identity}/annotated.webm")
    assert (whole.headers["content-type"], whole.content[:4]) == ("video/webm", b"\x1aE\xdf\xa3")
    part = anna.get(f"/files/{identity}/annotated.webm", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    end = anna.get(f"/files/{identity}/annotated.webm", headers={"Range": "bytes=-5"})
    assert end.content == whole.content[-5:]
    beyond = anna.get(f"/files/{identity}/annotated.webm", headers={"Range": f"bytes={len(whole.content)}-"})
    assert beyond.status_code == 416


def test_a_scan_becomes_a_mask(anna: httpx.Client, live: str) -> None:
    identity = upload(anna, MODEL, "head.nii.gz", make_scan(3, (64, 48, 4)))
    assert over(anna, identity)["state"] == "done"
    mask = anna.get(f"/files/{identity}/mask.nii.gz")
    assert mask.content[:2] == b"\x1f\x8b"
    assert "filename*=UTF-8''head-mask.nii.gz" in mask.headers["content-disposition"]
    assert mask.headers["content-disposition"].startswith("attachment")
    assert anna.get(f"/files/{identity}/answer.json").json()["class"] == "skin"


@pytest.mark.parametrize(
    ("name", "content", "status", "found"),
    [
        ("letter.jpg", b"%PDF-1.4 a letter", 415, "PDF"),
        ("scan.nii.gz", make_scan(1), 415, "NIfTI"),
        ("noise.jpg", b"noise" * 40, 422, "not a picture"),
    ],
)
def test_a_file_of_another_kind_is_refused_before_it_is_sent(
    anna: httpx.Client, detector: str, name: str, content: bytes, status: int, found: str
) -> None:
    answer = begin(anna, detector, name, content)
    assert answer.status_code == status, answer.text
    assert found in answer.json()["found"]
    assert answer.json()["expected"]


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(anna: httpx.Client, detector: str) -> None:
    answer = begin(anna, detector, "large.jpg", PICTURE, size=settings().max_upload_mb * 2**20 + 1)
    assert (answer.status_code, answer.json()["error"]) == (413, "TooLarge")


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP"])
def test_a_picture_with_too_many_pixels_is_refused_before_it_is_sent(
    anna: httpx.Client, detector: str, name: str
) -> None:
    answer = begin(anna, detector, f"large.{name}", claiming(name, 60_000))
    assert (answer.status_code, answer.json()["error"]) == (413, "TooLarge")
    assert "60,000 x 60,000" in answer.json()["found"]


def test_bytes_of_another_file_end_the_upload(anna: httpx.Client, detector: str) -> None:
    identity = begin(anna, detector, "a.jpg", PICTURE).json()["id"]
    other = b"%PDF-1.4 " + bytes(len(PICTURE) - 9)
    assert send(anna, identity, other).status_code == 415
    assert anna.get(f"/uploads/{identity}").json()["state"] == "failed"
    assert not (settings().var / "web" / identity / "input").exists()


def test_uploads_need_an_account_an_agreement_and_a_page_of_ours(bert: httpx.Client, detector: str, web: str) -> None:
    asked = {"model": detector, "name": "a.jpg", "size": len(PICTURE), "start": "/9j/"}
    assert httpx.post(f"{web}/uploads", json=asked, timeout=30).status_code == 403  # no CSRF token
    agreed = bert.post("/uploads", json=asked)
    assert (agreed.status_code, "agreed" in agreed.json()["found"]) == (409, True)
    identity = begin(bert, detector, "a.jpg", PICTURE).json()["id"]
    bare = httpx.Client(base_url=web, cookies={"sessionid": bert.cookies["sessionid"]}, timeout=30)
    assert send(bare, identity, PICTURE).status_code == 403
    assert httpx.put(f"{web}/uploads/{identity}", content=PICTURE, timeout=30).status_code in (401, 403)


@pytest.mark.parametrize("path", ["..%2f..%2fencryption.key", "input%00", "../../../visionloop.db", "key"])
def test_only_the_names_of_parts_are_served(anna: httpx.Client, detector: str, path: str) -> None:
    identity = upload(anna, detector, "a.jpg", PICTURE)
    assert anna.get(f"/files/{identity}/{path}").status_code == 404


def test_a_shared_link_shows_the_result_until_it_ends(anna: httpx.Client, detector: str, web: str) -> None:
    identity = upload(anna, detector, "shown.jpg", PICTURE)
    over(anna, identity)
    anna.post(f"/runs/{identity}/share", data={"days": "7"})
    page = anna.get(f"/runs/{identity}/").text
    link = page.partition("/shared/")[2].partition("/")[0]
    with httpx.Client(base_url=web, timeout=30) as stranger:
        assert stranger.get(f"/shared/{link}/").status_code == 200
        assert stranger.get(f"/shared/{link}/files/input").content == PICTURE
        assert stranger.get(f"/shared/{link}x/files/input").status_code == 404
        anna.post(f"/runs/{identity}/share", data={"days": "0"})
        assert stranger.get(f"/shared/{link}/").status_code == 404
        assert stranger.get(f"/shared/{link}/files/input").status_code == 404


def test_a_deleted_run_is_gone(anna: httpx.Client, detector: str) -> None:
    identity = upload(anna, detector, "gone.jpg", PICTURE)
    over(anna, identity)
    anna.post(f"/runs/{identity}/delete")
    assert anna.get(f"/runs/{identity}/").status_code == 404
    assert not (settings().var / "web" / identity).exists()


def test_the_same_file_runs_again(anna: httpx.Client, detector: str) -> None:
    identity = upload(anna, detector, "again.jpg", PICTURE)
    over(anna, identity)
    again = anna.post(f"/runs/{identity}/again").headers["location"].split("/")[2]
    assert over(anna, again)["state"] == "done"
    assert anna.get(f"/files/{again}/input").content == PICTURE
    assert anna.get(f"/runs/{again}/compare/{identity}/").status_code == 200


def test_a_heat_map_is_made_on_request(anna: httpx.Client, detector: str) -> None:
    identity = upload(anna, detector, "hot.jpg", PICTURE)
    over(anna, identity)
    anna.post(f"/runs/{identity}/heat")

    until(lambda: anna.get(f"/files/{identity}/heatmap.jpg").status_code == 200, 60)


def test_a_run_whose_answer_is_there_before_its_end_is_shown_as_running(anna: httpx.Client, detector: str) -> None:
    identity = upload(anna, detector, "nearly.jpg", PICTURE)
    over(anna, identity)
    assert "view/main.js" in anna.get(f"/runs/{identity}/").text
    with closing(sqlite3.connect(settings().var / "visionloop.db", timeout=20)) as rows, rows:
        held = ("running", "a test", "2999-01-01 00:00:00", identity)
        rows.execute("UPDATE runs_run SET state = ?, worker = ?, lease = ? WHERE id = ?", held)
    page = anna.get(f"/runs/{identity}/").text
    assert "hx-get" in page
    assert "view/main.js" not in page
