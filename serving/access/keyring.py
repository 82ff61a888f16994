"""The keys as a router knows them: in memory, brought up to date by polling. No request waits for the database."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from registry.core.errors import MissingService, Unauthorized
from serving.access import keys
from serving.access.keys import ApiKey


class Keyring:
    """Finds the grant of a token. While the database is away the keys that are known stay."""

    def __init__(self) -> None:
        self._grants: dict[str, ApiKey] = {}
        self._serial = 0
        self._read = False

    def refresh(self) -> None:
        """Reads what changed. From one thread only; raises what the database raises."""
        changed = keys.every(after=self._serial)
        self._read = True
        for grant in changed:
            self._grants[grant.id] = grant
            self._serial = max(self._serial, grant.serial)

    def find(self, token: str) -> ApiKey:
        """The grant of a token that is valid now.

        Raises:
            Unauthorized: no such key, a wrong secret, expired or revoked.
            MissingService: the keys could not be read since the router started.
        """
        parsed = keys.parse(token)
        if parsed is None:
            raise _unauthorized("the key does not look like one")
        grant = self._grants.get(parsed[0])
        if not keys.matches(grant, parsed[1]) or grant is None:
            if not self._read:
                raise MissingService(
                    "the keys could not be read yet", expected="a database that answers", fix="try again in a moment"
                )
            raise _unauthorized("the key is not known")
        state = grant.state(time.time())
        if state != "active":
            since = grant.revoked if state == "revoked" else grant.expires
            when = f" since {datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M} UTC" if since is not None else ""
            raise _unauthorized(f"the key is {state}{when}")
        return grant


def _unauthorized(found: str) -> Unauthorized:
    return Unauthorized(
        found,
        expected="`Authorization: Bearer vl_...`, or `X-API-Key: vl_...`, with a key that is valid",
        fix="ask whoever runs this for a key (`visionloop keys create`)",
    )
