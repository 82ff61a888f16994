"""The addresses of uploads that Django answers; the rest are in `serving.runs.uploads` and `serving.runs.downloads`."""

from __future__ import annotations

from django.urls import path

from serving.runs import views

urlpatterns = [
    path("uploads", views.begin, name="uploads"),
    path("uploads/<str:run_id>", views.one, name="upload"),
]
