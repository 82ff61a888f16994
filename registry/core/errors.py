"""One root for every error that visionloop raises on purpose.

    VisionloopError
    ├── SettingsError      a setting is unknown or has a bad value      exit 2
    ├── UsageError         a word or option that a command does not take   exit 2
    ├── BadInput           an unusable file or request                  HTTP 422, exit 3
    │   ├── UnsupportedMedia   not a format the model takes             HTTP 415
    │   ├── TooLarge           more bytes or voxels than allowed        HTTP 413
    │   ├── TooSlow            a request that comes in too slowly       HTTP 408
    │   ├── BadRequest         not valid HTTP                           HTTP 400
    │   ├── HeadTooLarge       headers that are too long                HTTP 431
    │   └── NotAcceptable      an answer format the model cannot give   HTTP 406
    ├── NotFound           no such model, version or page               HTTP 404, exit 4
    │   └── MethodNotAllowed   a path that takes other methods          HTTP 405
    ├── DataError          a data set that fails its checks             exit 5
    ├── BundleError        a damaged or incomplete bundle               exit 6
    ├── Refused            the gate, or a rule, says no                 HTTP 409, exit 7
    ├── MissingService     a needed service does not answer             HTTP 503, exit 8
    │   └── NotServed          the model has no version: do not retry   HTTP 503 without Retry-After
    ├── Unauthorized       no key, or an invalid one                    HTTP 401, exit 10
    ├── Forbidden          a valid key without this right               HTTP 403, exit 11
    ├── OverQuota          more requests than the key has               HTTP 429, exit 12
    ├── Overloaded         more requests than can wait; has a retry time   HTTP 429, exit 8
    ├── StorageError       a full or read-only disk                     HTTP 507, exit 9
    └── EncryptionError    a file that cannot be decrypted              HTTP 500, exit 13
        └── MissingKey     its key is not here

Each error says what was found, what was expected and how to fix it. The command line prints that and exits with
`exit_code`; the HTTP layer answers with `http_status` and `to_json()`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar


def did_you_mean(given: str, known: Iterable[str], otherwise: str) -> str:
    """A fix for a name that is not known: the nearest that is, or `otherwise` where none is near."""
    close = difflib.get_close_matches(given, [*known], n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class's name if it has none, as MemoryError()."""
    text = str(error).strip()
    return text.splitlines()[0].strip() if text else type(error).__name__


class VisionloopError(Exception):
    """The root. `found`, `expected` and `fix` are sentences without a full stop.

    Attributes:
        status: the API's HTTP status, when our client raises the error; else None.
        retry_after_s: whole seconds after which a retry may help; None if unknown.
        request_id: of the API's answer, for whoever runs it; "" if unknown.
    """

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    status: int | None = None
    retry_after_s: int | None = None
    request_id: str = ""

    def __init__(self, found: str, *, expected: str = "", fix: str = "") -> None:
        self.found = found
        self.expected = expected
        self.fix = fix
        super().__init__(self.__str__())

    def __str__(self) -> str:
        lines = [self.found]
        if self.expected:
            lines.append(f"expected: {self.expected}")
        if self.fix:
            lines.append(f"fix: {self.fix}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The body of an HTTP error response."""
        return {
            "error": type(self).__name__,
            "found": self.found,
            "expected": self.expected,
            "fix": self.fix,
        }


class SettingsError(VisionloopError):
    exit_code = 2


class UsageError(VisionloopError):
    exit_code = 2


class BadInput(VisionloopError):
    exit_code = 3
    http_status = 422


class UnsupportedMedia(BadInput):
    http_status = 415


class TooLarge(BadInput):
    http_status = 413


class TooSlow(BadInput):
    http_status = 408


class BadRequest(BadInput):
    http_status = 400


class HeadTooLarge(BadInput):
    http_status = 431


class NotAcceptable(BadInput):
    http_status = 406


class NotFound(VisionloopError):
    exit_code = 4
    http_status = 404


class MethodNotAllowed(NotFound):
    http_status = 405


class DataError(VisionloopError):
    exit_code = 5
    http_status = 422


class BundleError(VisionloopError):
    exit_code = 6


class Refused(VisionloopError):
    exit_code = 7
    http_status = 409


class MissingService(VisionloopError):
    exit_code = 8
    http_status = 503


class NotServed(MissingService):
    """The model has no released version. A retry does not help."""


class Unauthorized(VisionloopError):
    exit_code = 10
    http_status = 401


class Forbidden(VisionloopError):
    exit_code = 11
    http_status = 403


class OverQuota(VisionloopError):
    exit_code = 12
    http_status = 429


class Overloaded(VisionloopError):
    """`retry_after_s`: whole seconds after which a retry is likely to succeed."""

    exit_code = 8
    http_status = 429

    def __init__(self, found: str, *, retry_after_s: int, expected: str = "", fix: str = "") -> None:
        self.retry_after_s = retry_after_s
        super().__init__(found, expected=expected, fix=fix)


class StorageError(VisionloopError):
    exit_code = 9
    http_status = 507


class EncryptionError(VisionloopError):
    """A file whose bytes or name are not those that were written."""

    exit_code = 13


class MissingKey(EncryptionError):
    """A file whose encryption key is not here. It can be read once the key is put back."""


def error_from_json(
    content: Mapping[str, Any], status: int | None = None, retry_after_s: int | None = None
) -> VisionloopError:
    """The error that `VisionloopError.to_json` described; VisionloopError where the class is not one of these.

    Args:
        content: one of several files carries its own `status`.
        status: the HTTP status of the answer that held it.
        retry_after_s: the answer's `Retry-After`.
    """
    kind = globals().get(str(content.get("error")))
    if not (isinstance(kind, type) and issubclass(kind, VisionloopError)):
        kind = VisionloopError
    found = str(
        content.get("found") or (f"the API answered {status}" if status else "the API does not say what is wrong")
    )
    texts = {name: str(content.get(name) or "") for name in ("expected", "fix")}
    if issubclass(kind, Overloaded):
        error: VisionloopError = Overloaded(found, retry_after_s=retry_after_s or 1, **texts)
    else:
        error = kind(found, **texts)
    error.status = content.get("status", status)
    error.retry_after_s = retry_after_s
    return error
