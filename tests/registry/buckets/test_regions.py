"""The data region rule: not a byte of a bucket elsewhere is read or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.batch.sources import open_source
from flows.stack import mlflow_server, places
from flows.steps import data_versions
from registry.buckets import encryption, regions
from registry.core.errors import BadInput, MissingService, Refused, SettingsError
from registry.core.settings import Settings, read_settings, settings
from registry.versions.mlflow_client import experiment_id
from tests.registry.buckets.recorded import answering


def featurize(place: str) -> None:
    open_source(place, 1)


def version_data(place: str) -> None:
    with data_versions.repository():
        raise AssertionError("DVC was opened")


def serve_mlflow(place: str) -> None:
    mlflow_server.serve.main(["--host", "127.0.0.1", "--port", "1", "--store", "x", "--artifacts", place])


def register(place: str) -> None:
    experiment_id(None, "skin_segmentation", "sqlite:///x", place)  # type: ignore[arg-type]


def up(place: str) -> None:
    places.check(settings())


@pytest.mark.parametrize("use", [featurize, version_data, serve_mlflow, register, up], ids=lambda use: use.__name__)
@pytest.mark.parametrize("status", [200, 403])
def test_a_bucket_elsewhere_is_refused_before_a_byte(use, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(status, region="us-east-1") as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        monkeypatch.setenv("VISIONLOOP_DVC_REMOTE", "s3://far-away/data")
        settings.cache_clear()
        with pytest.raises(Refused, match=r"far-away/data is in us-east-1.*\nexpected: one of eu-central-1"):
            use("s3://far-away/data")
        assert server.asked == ["HEAD /far-away"]


@pytest.mark.parametrize(
    ("stated", "allowed", "passes"),
    [
        ("eu-central-1", "", True),
        ("eu-west-2", "", False),  # London
        ("eu-central-2", "", False),  # Zurich
        ("us-west-2", "eu-west-1,us-west-2", True),
        ("eu-central-1", "eu-west-1", False),
        ("us-west-2", "*", True),
        ("us-west-2", "127.0.0.1", True),  # the host is trusted, whatever it calls its region
        ("", "", True),  # of a server on this machine
    ],
)
def test_the_setting_says_where_a_bucket_may_be(
    stated: str, allowed: str, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if allowed:
        monkeypatch.setenv("VISIONLOOP_S3_REGIONS", allowed)
    with answering(200, region=stated) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        if passes:
            regions.check("s3://some-bucket/x")
        else:
            with pytest.raises(Refused, match=stated):
                regions.check("s3://some-bucket/x")


def test_another_service_is_trusted_by_the_name_of_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked of one that is not listed: the name resolves to nothing."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://s3.nowhere.invalid")
    with pytest.raises(Refused, match=r"is in s3\.nowhere\.invalid"):
        regions.check("s3://some-bucket")
    monkeypatch.setenv("VISIONLOOP_S3_REGIONS", "eu-west-1, s3.nowhere.invalid")
    settings.cache_clear()
    regions.check("s3://some-bucket")


def test_a_missing_bucket_and_a_missing_server_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(404) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        with pytest.raises(BadInput, match="there is no bucket not-there"):
            regions.check("s3://not-there/x")
    with pytest.raises(MissingService, match=r"s3://gone-now/x does not answer"):
        regions.check("s3://gone-now/x")
    with pytest.raises(BadInput, match="names no bucket"):
        regions.check("s3:///x")


@pytest.mark.parametrize(
    ("chosen", "put", "dvc"),
    [
        ("AES256", {"ServerSideEncryption": "AES256"}, {"sse": "AES256"}),
        ("aws:kms", {"ServerSideEncryption": "aws:kms"}, {"sse": "aws:kms"}),
        (
            "aws:kms:arn:aws:kms:eu-west-1:1:key/k",
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:aws:kms:eu-west-1:1:key/k"},
            {"sse": "aws:kms", "sse_kms_key_id": "arn:aws:kms:eu-west-1:1:key/k"},
        ),
        ("none", {}, {}),
    ],
)
def test_writes_ask_for_encryption(
    chosen: str, put: dict[str, str], dvc: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIONLOOP_S3_ENCRYPTION", chosen)
    assert encryption.put_options() == put
    assert encryption.dvc_options() == dvc


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("s3_encryption", "aes"),
        ("s3_regions", ""),
        ("s3_regions", "eu west"),
        ("mlflow_artifacts", "/srv/x"),
        ("mlflow_artifacts", "s3:///x"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=name):
        read_settings({f"VISIONLOOP_{name.upper()}": value}, tmp_path)
    assert isinstance(read_settings({}, tmp_path), Settings)
