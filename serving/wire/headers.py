"""The names of the headers between callers, router and services, and the roles that one of them carries."""

from typing import Literal

Role = Literal["live", "canary", "shadow", "a", "b", "pinned"]
"""The part of a version in one request. `pinned`: the caller chose it by `?version=`, and it is not the live one."""

PREDICTION_ID_HEADER = "X-Prediction-Id"
MODEL_HEADER, VERSION_HEADER, ROLE_HEADER = "X-Model", "X-Model-Version", "X-Release-Role"
"""Which version answered, and in which role. The router sends the role with a request, too."""
CALLER_HEADER = "X-Caller"
"""By this the router tells a service who calls."""
TASK_OWNER_HEADER = "X-Tasks-Of"
"""The caller whose tasks a request may see; without it, everyone's. Only the router's access check may set it."""
PREFIX_HEADER = "X-Forwarded-Prefix"
"""What the router has taken off the path of a request."""
