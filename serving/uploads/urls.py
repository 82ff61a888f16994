"""The addresses of uploads that Django answers. The bytes themselves go to `serving.uploads.receiving`."""

from __future__ import annotations

from django.urls import path

from serving.uploads import views

urlpatterns = [
    path("uploads", views.begin, name="uploads"),
    path("uploads/<str:run_id>", views.one, name="upload"),
]
