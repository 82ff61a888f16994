"""The addresses of the pages."""

from __future__ import annotations

from django.urls import include, path

from serving.gallery import urls as gallery

urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("language/", include("django.conf.urls.i18n")),
    path("", include(gallery)),
]
