"""How the server is asked to encrypt what we write, by the setting `s3_encryption`."""

from __future__ import annotations

from registry.core.settings import settings


def put_options() -> dict[str, str]:
    """Arguments of boto3's `put_object` and `ExtraArgs`, and of s3fs's `s3_additional_kwargs`."""
    kind, _, key = _chosen()
    return {} if kind == "none" else {"ServerSideEncryption": kind, **({"SSEKMSKeyId": key} if key else {})}


def dvc_options() -> dict[str, str]:
    """The same as options of a DVC remote."""
    kind, _, key = _chosen()
    return {} if kind == "none" else {"sse": kind, **({"sse_kms_key_id": key} if key else {})}


def _chosen() -> tuple[str, str, str]:
    given = settings().s3_encryption
    if given.startswith("aws:kms:"):
        return "aws:kms", ":", given.removeprefix("aws:kms:")
    return given, "", ""
