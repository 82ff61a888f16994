"""The addresses of the gallery."""

from __future__ import annotations

from django.urls import path

from serving.gallery import views

urlpatterns = [path("", views.gallery, name="gallery")]
