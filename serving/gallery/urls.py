"""The addresses of the gallery."""

from __future__ import annotations

from django.urls import path, re_path

from serving.gallery import history, key_views, results, slice_views, views

urlpatterns = [
    path("", views.gallery, name="gallery"),
    path("models/<slug:name>/", views.model, name="model"),
    path("models/<slug:name>/key", key_views.make, name="model_key"),
    path("runs/<str:run_id>/", results.run, name="run"),
    path("runs/<str:run_id>/beside", results.beside, name="run_beside"),
    path("runs/<str:run_id>/status", results.status, name="run_status"),
    path("runs/<str:run_id>/heat", results.heat, name="run_heat"),
    path("runs/<str:run_id>/slices/", slice_views.own_about),
    path("runs/<str:run_id>/slices/<int:axis>/<int:number>.png", slice_views.own_png),
    path("shared/<str:token>/slices/", slice_views.shared_about),
    path("shared/<str:token>/slices/<int:axis>/<int:number>.png", slice_views.shared_png),
    path("runs/<str:run_id>/compare/<str:other_id>/", results.compare, name="run_compare"),
    re_path(rf"^runs/(?P<run_id>\w+)/(?P<action>{'|'.join(results.ACTIONS)})$", results.act, name="run_act"),
    path("shared/<str:token>/", results.shared, name="shared"),
    path("history/", history.history, name="history"),
]
