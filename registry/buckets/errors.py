"""What goes wrong with a bucket, in words. One message for each cause, whichever library was asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from registry.core.errors import BadInput, MissingService, VisionloopError, first_line

_CREDENTIALS = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
_UNKNOWN = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthorizationHeaderMalformed"}
_DENIED = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled"}
_THROTTLED = {
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "503",
}
_NO_BUCKET = {"NoSuchBucket"}


@contextmanager
def explained(place: str) -> Iterator[None]:
    """Turns errors of botocore, boto3, s3fs and MLflow about `place` (s3://bucket/prefix) into ours."""
    try:
        yield
    except VisionloopError:
        raise
    except Exception as error:
        ours = explanation(error, place)
        if ours is None:
            raise
        raise ours from error


def explanation(error: BaseException, place: str) -> VisionloopError | None:
    """Our error for one of a bucket, or for one that was caused by it; None for any other."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    for one in _chain(error):
        if isinstance(one, ClientError):
            return _of_code(str(one.response.get("Error", {}).get("Code", "")), place, first_line(one))
        if isinstance(one, NoCredentialsError | PartialCredentialsError):
            return MissingService(
                f"{place}: there are no credentials", expected="those of a user with rights on it", fix=_CREDENTIALS
            )
        if isinstance(one, BotoCoreError):
            return away(place, first_line(one))
    # s3fs turns what it knows into Python's own errors, and drops the cause.
    for one in _chain(error):
        if isinstance(one, OSError) and one.filename is not None:
            continue  # of a file on this machine
        if isinstance(one, FileNotFoundError):
            return _of_code("NoSuchBucket", place, first_line(one))
        if isinstance(one, PermissionError):
            text = first_line(one)
            known = next((code for code in (*_EXPIRED, *_UNKNOWN) if code in text), None)
            known = known or ("InvalidAccessKeyId" if "key ID you provided" in text else "AccessDenied")
            return _of_code("SignatureDoesNotMatch" if "signature" in text else known, place, text)
        if isinstance(one, Boto3Error | ConnectionError | TimeoutError):
            return away(place, first_line(one))
        if isinstance(one, OSError) and one.errno == 16:  # EBUSY: what s3fs makes of SlowDown
            return _of_code("SlowDown", place, first_line(one))
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _of_code(code: str, place: str, text: str) -> VisionloopError:
    bucket = place.removeprefix("s3://").partition("/")[0]
    if code in _NO_BUCKET or (code == "404" and "HeadBucket" in text):
        return BadInput(
            f"there is no bucket {bucket}", expected="a bucket that exists", fix="correct its name, or make it"
        )
    if code in _EXPIRED:
        return MissingService(
            f"{place}: the credentials have expired", expected="credentials that are valid now",
            fix="renew them (`aws sso login`, or another AWS_SESSION_TOKEN), and run the same command again",
        )  # fmt: skip
    if code in _UNKNOWN:
        return MissingService(
            f"{place}: the credentials are wrong: {text[:200]}",
            expected="a key that the server knows",
            fix=_CREDENTIALS,
        )
    if code in _DENIED:
        return MissingService(
            f"{place}: access is denied: {text[:200]}",
            expected="a user with s3:ListBucket and s3:GetObject on it, and s3:PutObject to write",
            fix=f"give that user the rights, or {_CREDENTIALS}",
        )
    if code in _THROTTLED:
        return MissingService(
            f"{place} asks for fewer requests ({code}), also after some retries",
            expected="a bucket that is less busy",
            fix="run the same command again later; it goes on where it stopped",
        )
    if code in {"NotImplemented", "InvalidRequest", "KMS.NotFoundException"} or code.startswith("KMS."):
        return MissingService(
            f"{place} refuses the request: {text[:200]}",
            expected="a server that encrypts as s3_encryption asks",
            fix="set s3_encryption to what it can: AES256, aws:kms, or none",
        )
    return away(place, text)


def away(place: str, text: str) -> MissingService:
    return MissingService(
        f"{place} does not answer: {text[:200]}",
        expected="S3, or what AWS_ENDPOINT_URL names",
        fix="correct the address or the region, or run the same command again when it is back",
    )
