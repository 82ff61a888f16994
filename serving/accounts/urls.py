"""The addresses of accounts."""

from __future__ import annotations

from django.urls import include, path

from serving.accounts import key_views, views

urlpatterns = [
    path("accounts/profile/", views.profile, name="account_profile"),
    path("accounts/keys/", key_views.key_list, name="account_keys"),
    path("accounts/keys/<slug:key>/rotate/", key_views.rotate, name="account_key_rotate"),
    path("accounts/keys/<slug:key>/revoke/", key_views.revoke, name="account_key_revoke"),
    path("accounts/data/", views.data, name="account_data"),
    path("accounts/data/export/", views.export, name="account_export"),
    path("accounts/data/delete/", views.delete, name="account_delete"),
    path("accounts/sessions/<int:number>/end/", views.end_session, name="account_end_session"),
    path("accounts/", include("allauth.urls")),
    path("contact/", views.contact_page, name="contact"),
    path("language/", views.set_language, name="set_language"),
]
