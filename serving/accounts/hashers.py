"""How passwords are hashed: Argon2id as OWASP recommends it (19 MiB, 2 rounds, 1 lane).

https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
"""

from __future__ import annotations

import threading

from django.contrib.auth.hashers import Argon2PasswordHasher

_at_once = threading.BoundedSemaphore(4)
"""Many log-ins at once must not take all memory."""


class Argon2(Argon2PasswordHasher):
    """Django's, with these costs. A password that was hashed with others is hashed anew at the next log-in."""

    time_cost, memory_cost, parallelism = 2, 19 * 1024, 1

    def encode(self, password: str, salt: str) -> str:
        with _at_once:
            return str(super().encode(password, salt))

    def verify(self, password: str, encoded: str) -> bool:
        with _at_once:
            return bool(super().verify(password, encoded))
