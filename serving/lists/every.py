"""All lists by name."""

from __future__ import annotations

from serving.lists.people import AUDIT, MESSAGES, USERS
from serving.lists.use import KEYS, PREDICTIONS, USAGE

ALL = {one.name: one for one in (PREDICTIONS, USERS, KEYS, USAGE, MESSAGES, AUDIT)}
