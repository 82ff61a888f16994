"""The addresses of the gallery."""

from __future__ import annotations

from django.urls import path, re_path

from serving.gallery import history, results, views

urlpatterns = [
    path("", views.gallery, name="gallery"),
    path("models/<slug:name>/", views.model, name="model"),
    path("runs/<str:run_id>/", results.run, name="run"),
    path("runs/<str:run_id>/status", results.status, name="run_status"),
    path("runs/<str:run_id>/compare/<str:other_id>/", results.compare, name="run_compare"),
    re_path(rf"^runs/(?P<run_id>\w+)/(?P<action>{'|'.join(results.ACTIONS)})$", results.act, name="run_act"),
    path("shared/<str:token>/", results.shared, name="shared"),
    path("history/", history.history, name="history"),
]
