"""The addresses of the pages."""

from __future__ import annotations

from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from serving.accounts import urls as accounts
from serving.gallery import urls as gallery
from serving.office import urls as office
from serving.uploads import urls as uploads

urlpatterns = [
    path("favicon.ico", RedirectView.as_view(url=static("web/mark.svg"))),  # of pages that name no icon
    path("", include(accounts)),
    path("", include(uploads)),
    path("", include(gallery)),
    path("", include(office)),
]
