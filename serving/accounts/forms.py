"""The forms of the account's own pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.utils.translation import gettext, gettext_lazy

from serving.access.keys import ALL, DEFAULT_ACTIONS
from serving.accounts import keys
from serving.accounts.models import User
from serving.translation import specs

_DOES = {
    "predict": gettext_lazy("ask models"),
    "read": gettext_lazy("read its own predictions"),
    "feedback": gettext_lazy("give labels for its own predictions"),
    "admin": gettext_lazy("see every caller's predictions and usage"),
}
_PERIODS = (
    ("30", gettext_lazy("in 30 days")),
    ("90", gettext_lazy("in 90 days")),
    ("365", gettext_lazy("in a year")),
    ("", gettext_lazy("never")),
)


class ProfileForm(forms.ModelForm):
    """Name and language."""

    class Meta:
        model = User
        fields: ClassVar = ["first_name", "last_name", "language"]

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        choices = [("", gettext("as the browser asks")), *settings.LANGUAGES]
        self.fields["language"] = forms.ChoiceField(label=gettext("Language"), choices=choices, required=False)


class KeyForm(forms.Form):
    """A new API key."""

    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=64, help_text=gettext_lazy("What it is for, e.g. “my notebook”.")
    )
    models = forms.MultipleChoiceField(
        label=gettext_lazy("Models"),
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text=gettext_lazy("None chosen: all models, later ones too."),
    )
    actions = forms.MultipleChoiceField(label=gettext_lazy("It may"), widget=forms.CheckboxSelectMultiple)
    days = forms.ChoiceField(label=gettext_lazy("It expires"), choices=_PERIODS, required=False, initial="90")

    def __init__(self, user: User, data: Any = None) -> None:
        super().__init__(data)
        self._choices("models", [(spec.name, spec.title) for spec in specs.all_specs()])
        self._choices("actions", [(one, _DOES[one]) for one in keys.actions_for(user)])
        self.fields["actions"].initial = list(DEFAULT_ACTIONS)

    def _choices(self, name: str, choices: list[tuple[str, Any]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = choices

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise forms.ValidationError(gettext("Please write this in one line."))
        return name

    def wanted(self) -> dict[str, Any]:
        """What `keys.create` wants."""
        given = self.cleaned_data
        expires = datetime.now(UTC) + timedelta(days=int(given["days"])) if given["days"] else None
        return {"models": given["models"] or [ALL], "actions": given["actions"], "expires": expires}


class DeletionForm(forms.Form):
    """The password, asked for again before the account is deleted."""

    password = forms.CharField(
        label=gettext_lazy("Your password"), widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )

    def __init__(self, user: User, data: Any = None) -> None:
        super().__init__(data)
        self._user = user

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if not self._user.check_password(password):
            raise forms.ValidationError(gettext("That is not your password."))
        return password
