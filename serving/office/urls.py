"""The addresses of the back office."""

from __future__ import annotations

from django.urls import path, re_path

from serving.office import views

urlpatterns = [
    path("office/", views.front, name="office"),
    path("office/now/", views.now, name="office_now"),
    re_path(r"^office/processes/(?P<name>[\w.-]+)/(?P<action>restart|drain)/$", views.process, name="office_process"),
]
