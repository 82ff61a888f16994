"""All lists by name."""

from __future__ import annotations

from serving.lists.people import AUDIT, MESSAGES, USERS
from serving.lists.use import KEYS, PREDICTIONS, USAGE
from serving.lists.versions import VERSIONS

ALL = {one.name: one for one in (PREDICTIONS, VERSIONS, USERS, KEYS, USAGE, MESSAGES, AUDIT)}
