"""The addresses of the pages."""

from __future__ import annotations

from django.urls import include, path

from serving.accounts import urls as accounts
from serving.gallery import urls as gallery
from serving.office import urls as office
from serving.uploads import urls as uploads

urlpatterns = [
    path("", include(accounts)),
    path("", include(uploads)),
    path("", include(gallery)),
    path("", include(office)),
]
