"""The key of a run: the account's own, so that admission, quotas and the log are those of any caller."""

from __future__ import annotations

from contextlib import suppress

from registry.core.errors import EncryptionError, NotFound
from registry.encryption.files import read_file, write_file
from serving.access import keys
from serving.accounts import keys as account_keys
from serving.runs import files
from serving.runs.models import Run, now

EXAMPLES = "examples.key"


def token_of(run: Run) -> str:
    """The key for the router: that of the run's owner, or that of the examples. Made at first use.

    Raises:
        Refused: the account is disabled.
    """
    return _of_examples() if run.owner is None else account_keys.token_of_pages(run.owner)


def _of_examples() -> str:
    path = files.root() / EXAMPLES
    with suppress(FileNotFoundError, EncryptionError, NotFound):
        token = read_file(path, EXAMPLES).decode()
        found = keys.parse(token)
        if found is not None and keys.get(found[0]).state(now().timestamp()) == "active":
            return token
    _, token = keys.create("examples", "web application", actions=("predict",), per_minute=0, per_month=0)
    write_file(path, token.encode(), EXAMPLES)
    return token
