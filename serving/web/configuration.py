"""Django's settings of the web application. Nothing is read from a settings module.

Processes and commands that need the tables of people and uploads call `setup()` first, in place of
`registry.core.database.setup()`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from registry.core import database
from registry.core.secret_files import secret
from registry.core.settings import Settings, is_loopback, settings
from serving.accounts import smtp
from serving.web import languages, static_files

APPS = [
    "serving.accounts",
    "serving.runs",
    "serving.gallery",
    "serving.office",
    "serving.web",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "serving.accounts.middleware.ChosenLanguage",
    "serving.web.middleware.PageOfForms",
    "serving.accounts.middleware.OfficeSecondFactor",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
]
CONTEXT = [
    "django.template.context_processors.request",
    "django.template.context_processors.i18n",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
    "serving.web.context.page",
]
LANGUAGES = [("en", "English"), ("fr", "Français")]


def setup(config: Settings | None = None) -> None:
    """Configures Django with the operational database's tables and those of the web application.

    Raises:
        SettingsError: as `registry.core.database.setup`.
        SettingsError: `smtp_url` is wrong.
        StorageError: the secret for sessions cannot be made or read.
    """
    chosen = config or settings()
    database.setup(chosen, **_options(chosen))


def no_queries_in_event_loops() -> None:
    """Makes a query that would hold up all requests an error. For the web process, where queries run in threads."""
    os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)  # see registry.core.database


def make_tables() -> None:
    """What `migrate` leaves out: the table of Django's cache, which all processes of the web application share."""
    from django.core.management import call_command

    call_command("createcachetable", verbosity=0)


def _options(config: Settings) -> dict[str, Any]:
    return {
        "INSTALLED_APPS": APPS,
        "MIDDLEWARE": MIDDLEWARE,
        "ROOT_URLCONF": "serving.web.urls",
        "SECRET_KEY": secret(config.var / "keys" / "sessions").hex(),
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [Path(__file__).parent / "templates"],  # before those of allauth, whose names ours have
                "APP_DIRS": True,
                "OPTIONS": {"context_processors": CONTEXT, "builtins": ["serving.web.words"]},
            }
        ],
        "STATIC_URL": static_files.url(),
        "LANGUAGES": LANGUAGES,
        "LANGUAGE_CODE": "en",
        "USE_I18N": True,
        "FORMAT_MODULE_PATH": "serving.web.formats",
        "LOCALE_PATHS": [languages.compile_into(config.var / "locale", ["en", "fr"])],
        "DATA_UPLOAD_MAX_MEMORY_SIZE": 2**21,  # forms only: files are not read by Django (serving.gallery)
        "FILE_UPLOAD_MAX_MEMORY_SIZE": 2**21,
        **_security(config),
        **_accounts(config),
        **_mail(config),
    }


def _security(config: Settings) -> dict[str, Any]:
    address = urlsplit(config.web_address)
    https = address.scheme == "https"
    hosts = [str(address.hostname), config.host, "localhost", "127.0.0.1"]
    anywhere = not config.web_url and not is_loopback(config.host)
    return {
        "ALLOWED_HOSTS": ["*"] if anywhere else hosts,
        "CSRF_TRUSTED_ORIGINS": [f"{address.scheme}://{address.netloc}"],
        "SESSION_COOKIE_SECURE": https,
        "CSRF_COOKIE_SECURE": https,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_AGE": 14 * 86400,
        "SECURE_SSL_REDIRECT": https,
        "SECURE_HSTS_SECONDS": 365 * 86400 if https else 0,
        "SECURE_HSTS_INCLUDE_SUBDOMAINS": https,
        "SECURE_HSTS_PRELOAD": https,
        # The proxy in front ends TLS; it must set this header, and drop what a caller sends of it.
        "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https") if https else None,
        "X_FRAME_OPTIONS": "DENY",
        "SECURE_REFERRER_POLICY": "same-origin",
        "CACHES": {
            "default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "web_cache"},
        },
    }


def _accounts(config: Settings) -> dict[str, Any]:
    https = config.web_address.startswith("https:")
    return {
        "AUTH_USER_MODEL": "accounts.User",
        # Only allauth's: it takes as long for an address without an account.
        "AUTHENTICATION_BACKENDS": ["allauth.account.auth_backends.AuthenticationBackend"],
        "PASSWORD_HASHERS": ["serving.accounts.hashers.Argon2"],
        "AUTH_PASSWORD_VALIDATORS": [
            {"NAME": f"django.contrib.auth.password_validation.{name}"}
            for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
        ],
        "LOGIN_URL": "account_login",
        "LOGIN_REDIRECT_URL": "/",
        "ACCOUNT_USER_MODEL_USERNAME_FIELD": None,
        "ACCOUNT_LOGIN_METHODS": {"email"},
        "ACCOUNT_SIGNUP_FIELDS": ["email*", "password1*", "password2*"],
        "ACCOUNT_EMAIL_VERIFICATION": "mandatory",
        "ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION": True,  # in the session that signed up or tried to log in, in no other
        "ACCOUNT_PREVENT_ENUMERATION": True,
        "ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE": True,
        "ACCOUNT_ADAPTER": "serving.accounts.adapters.AccountAdapter",
        "ACCOUNT_FORMS": {"signup": "serving.accounts.allauth_forms.SignUp"},
        "ACCOUNT_SIGNUP_ENABLED": config.sign_up,
        "ACCOUNT_CHANGE_EMAIL": True,
        "ACCOUNT_REAUTHENTICATION_REQUIRED": True,  # before the address is changed
        "ACCOUNT_REAUTHENTICATION_METHODS": ("password", "mfa"),
        "ACCOUNT_EMAIL_NOTIFICATIONS": True,
        "ACCOUNT_EMAIL_SUBJECT_PREFIX": "[visionloop] ",
        "ACCOUNT_DEFAULT_HTTP_PROTOCOL": "https" if https else "http",
        "ACCOUNT_RATE_LIMITS": {"contact": "5/h/ip"},  # allauth's own limits of log-in, sign-up and reset stay
        "MFA_ADAPTER": "serving.accounts.adapters.SecondFactorAdapter",
        "MFA_FORMS": {"activate_totp": "serving.accounts.allauth_forms.ActivateApp"},
        "MFA_ALLOW_UNVERIFIED_EMAIL": True,  # else nobody with a second factor could change the address
        "MFA_TOTP_ISSUER": "visionloop",
        "MFA_TOTP_TOLERANCE": 1,  # clocks of phones are not exact
        "MFA_PASSKEY_LOGIN_ENABLED": True,
        "MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN": not https,  # browsers themselves allow localhost only
        "MFA_SUPPORTED_TYPES": ["totp", "webauthn", "recovery_codes"],
        "MFA_RECOVERY_CODES_SHOW_ONCE": True,
    }


def _mail(config: Settings) -> dict[str, Any]:
    smtp.parse(config.smtp_url)
    return {"EMAIL_BACKEND": "serving.accounts.mail.Outbox"}
