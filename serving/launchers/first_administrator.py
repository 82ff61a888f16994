"""Makes the first administrator of the web application, where there is none, and prints how to log in, once."""

from __future__ import annotations

import sys

from registry.core import database
from registry.core.errors import VisionloopError
from serving.web import configuration


def main() -> int:
    """`python -m serving.launchers.first_administrator`"""
    try:
        configuration.setup()
        database.migrate()
        from serving.accounts import people

        made = people.first_administrator()
    except VisionloopError as error:
        print(error.found, file=sys.stderr)
        return error.exit_code
    if made is not None:
        user, password = made
        print(f"log in as {user.email} with the password {password} (shown this once; change it)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
