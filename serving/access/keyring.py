"""The keys of a router, in memory."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from registry.core.errors import MissingService, Unauthorized
from serving.access.keys import ApiKey, every, matching, parse


class Keyring:
    """The keys of a router, in memory and brought up to date by polling, so that no request waits for the database.

    While the database is away the known keys stay.
    """

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}
        self._serial = 0
        self._read = False

    def refresh(self) -> None:
        """Reads the keys that changed. Call it from one thread. Raises what the database raises."""
        changed = every(after=self._serial)
        self._read = True
        for api_key in changed:
            self._keys[api_key.id] = api_key
            self._serial = max(self._serial, api_key.serial)

    def find(self, token: str) -> ApiKey:
        """The key of a token that is valid now.

        Raises:
            Unauthorized: there is no such key, its secret is another, or it is expired or revoked.
            MissingService: the keys could not be read since the router started.
        """
        parsed = parse(token)
        if parsed is None:
            raise _unauthorized("the text is not a key")
        api_key = matching(self._keys.get(parsed[0]), parsed[1], time.time())
        if api_key is None:
            if not self._read:
                raise MissingService(
                    "the keys could not be read yet", expected="a database that answers", fix="try again in a moment"
                )
            raise _unauthorized("the key is not known")
        state = api_key.state(time.time())
        if state != "active":
            since = api_key.revoked if state == "revoked" else api_key.expires
            when = f" since {datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M} UTC" if since is not None else ""
            raise _unauthorized(f"the key is {state}{when}")
        return api_key


def _unauthorized(found: str) -> Unauthorized:
    return Unauthorized(
        found,
        expected="`Authorization: Bearer vl_...`, or `X-API-Key: vl_...`, with a key that is valid",
        fix="ask whoever runs this for a key",
    )
