"""What a person has asked this month, and may still ask."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Sum

from registry.core.errors import OverQuota
from registry.core.settings import settings
from serving.access import keys
from serving.access.models import Usage
from serving.accounts import keys as account_keys
from serving.accounts.models import User


@dataclass(frozen=True)
class MonthsUsage:
    """Requests of a person's keys in this calendar month (UTC). `limit`: of the pages' key; 0: none."""

    used: int
    limit: int

    @property
    def percent(self) -> int:
        return min(100, 100 * self.used // self.limit) if self.limit else 0


def usage(user: User) -> MonthsUsage:
    ids = [caller.removeprefix("vl_") for caller in account_keys.callers(user)]
    first = datetime.now(UTC).date().replace(day=1)
    used = Usage.objects.filter(key__in=ids, day__gte=first).aggregate(total=Sum("requests"))["total"] or 0
    return MonthsUsage(used, _limit(user))


def _limit(user: User) -> int:
    """Of the key that the pages use, which an administrator may have given another quota than its owner."""
    own = user.keys.exclude(token=None).values_list("key", flat=True).first()
    per_month = keys.get(own).per_month if own else user.per_month
    return settings().quota_per_month if per_month is None else per_month


def check(user: User) -> None:
    """Refuses an upload that could not be predicted, before it is sent. Raises OverQuota."""
    found = usage(user)
    if found.limit and found.used >= found.limit:
        raise OverQuota(
            f"your {found.limit:,} predictions of this month are used up",
            expected="predictions within the quota",
            fix="try again next month, or write to the administrator",
        )
