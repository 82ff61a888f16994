"""The addresses of the back office."""

from __future__ import annotations

from django.urls import path, re_path

from serving.office import charts, document_views, imports, list_views, release_views, run_views, views

_ACTIONS = "|".join(release_views.ACTIONS)
_FOLDERS = "|".join(document_views.TITLES)

urlpatterns = [
    path("office/", views.front, name="office"),
    path("office/now/", views.now, name="office_now"),
    re_path(r"^office/processes/(?P<name>[\w.-]+)/(?P<action>restart|drain)/$", views.process, name="office_process"),
    path("office/models/", release_views.models, name="office_models"),
    path("office/models/<slug:name>/", release_views.model, name="office_model"),
    re_path(rf"^office/models/(?P<name>\w+)/(?P<action>{_ACTIONS})/$", release_views.change, name="office_release"),
    path("office/lists/<slug:name>/", list_views.show, name="office_list"),
    path("office/lists/<slug:name>/act/", list_views.act, name="office_act"),
    path("office/lists/messages/<int:number>/", list_views.message, name="office_message"),
    path("office/thumbnails/<slug:run>/", list_views.thumbnail, name="office_thumbnail"),
    path("office/charts/", charts.page, name="office_charts"),
    path("office/runs/import/", imports.page, name="office_import"),
    path("office/story/", document_views.story, name="office_story"),
    path("office/documents/", document_views.index, name="office_documents"),
    re_path(rf"^office/documents/(?P<name>{_FOLDERS})/$", document_views.folder, name="office_folder"),
    re_path(rf"^office/documents/(?P<name>{_FOLDERS})/(?P<path>.+)$", document_views.document, name="office_document"),
    path("office/runs/", run_views.runs, name="office_runs"),
    path("office/runs/now/", run_views.runs_now, name="office_runs_now"),
    path("office/runs/train/", run_views.train, name="office_train"),
    path("office/runs/<uuid:identity>/", run_views.run, name="office_run"),
    path("office/runs/<uuid:identity>/now/", run_views.run_now, name="office_run_now"),
    path("office/runs/<uuid:identity>/cancel/", run_views.cancel, name="office_cancel"),
]
