"""Who may read the metrics of a process that has no `AccessMiddleware` before it."""

from __future__ import annotations

from starlette.types import Scope

from registry.core.errors import Unauthorized
from serving.access.control import permit
from serving.access.keyring import Keyring
from serving.access.middleware import is_local, not_from_elsewhere, take_key
from serving.access.rules import OF_METRICS


class MetricsReaders:
    """Callers on this machine, and keys for the action admin and all models. For one thread at a time."""

    def __init__(self) -> None:
        self._keyring = Keyring()

    def check(self, scope: Scope) -> None:
        """Asks the database, where the caller is elsewhere and shows a key.

        Raises:
            Forbidden: the caller is elsewhere without a key, or with one that does not allow it.
            Unauthorized: the key is not valid.
        """
        if is_local(scope):
            return
        token = take_key({**scope})
        if isinstance(token, Unauthorized):
            raise token
        if not token:
            raise not_from_elsewhere(OF_METRICS, scope["path"])
        self._keyring.refresh()
        permit(self._keyring.find(token), OF_METRICS)
