"""Values of settings that have a form of their own. Each function returns the value, or raises ValueError."""

from __future__ import annotations

import re

EU_REGIONS = "eu-central-1,eu-north-1,eu-south-1,eu-south-2,eu-west-1,eu-west-3,eusc-de-east-1"
"""Amazon's regions in the European Union. London (eu-west-2) and Zurich (eu-central-2) are not in it."""

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
_ENCRYPTION = re.compile(r"AES256|none|aws:kms(:\S+)?")


def list_of(text: str) -> list[str]:
    """What stands between commas, without blanks and slashes at the end."""
    return [one for part in text.split(",") if (one := part.strip().rstrip("/"))]


def are_origins(value: str) -> str:
    if any(one != "*" and not _ORIGIN.fullmatch(one) for one in list_of(value)):
        raise ValueError("origins like https://app.example.com, with commas between, or *")
    return value


def is_an_origin(value: str) -> str:
    if value and not _ORIGIN.fullmatch(value.rstrip("/")):
        raise ValueError("an address without a path, like https://vision.example.com")
    return value.rstrip("/")


def are_regions(value: str) -> str:
    found = list_of(value)
    if not found or any(one != "*" and not _REGION.fullmatch(one) for one in found):
        raise ValueError("regions like eu-central-1, or hosts like s3.example.com, with commas between, or *")
    return ",".join(found)


def is_encryption(value: str) -> str:
    if not _ENCRYPTION.fullmatch(value):
        raise ValueError("AES256, aws:kms, aws:kms:KEY with a key's id or ARN, or none")
    return value


def bucket_address(value: str) -> str:
    if value and not re.fullmatch(r"s3://[^/]+(/.*)?", value):
        raise ValueError("s3://bucket/prefix, or nothing for a folder in var")
    return value.rstrip("/")
