"""What Django reads as its ROOT_URLCONF: the typed routes, and how errors outside of them are answered.

Import only after `registry.core.database.setup()`.
"""

from django.urls import path

from serving.api import key_routes, prediction_routes, task_routes, usage_routes  # noqa: F401  (they register their routes)
from serving.api.typed import api, handler400, handler404, handler500

__all__ = ["api", "handler400", "handler404", "handler500", "urlpatterns"]

urlpatterns = [path("", api.urls)]
