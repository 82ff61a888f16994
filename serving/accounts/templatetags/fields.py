"""Form fields with Bootstrap's classes, for all pages: `{% load fields %}`, `{% fields form %}`."""

from __future__ import annotations

from typing import Any

from django import forms, template

register = template.Library()


@register.inclusion_tag("accounts/fields.html")
def fields(form: forms.BaseForm | None) -> dict[str, Any]:
    """All fields of a form with labels, help and errors."""
    return {"form": form or None}


@register.filter
def control(field: forms.BoundField) -> str:
    """The input itself."""
    widget = field.field.widget
    widget.attrs.pop("placeholder", None)  # those of allauth repeat the label
    if isinstance(widget, forms.CheckboxSelectMultiple | forms.RadioSelect):
        return field.as_widget()  # Django would give the class to the frame around them, too
    if isinstance(widget, forms.CheckboxInput):
        name = "form-check-input"
    else:
        name = "form-select" if isinstance(widget, forms.Select) else "form-control"
    more = {"class": f"{name} is-invalid" if field.errors else name}
    return field.as_widget(attrs=more)


@register.filter
def kind(field: forms.BoundField) -> str:
    """`check` for one box, `checks` for several, else `line`."""
    widget = field.field.widget
    if isinstance(widget, forms.CheckboxInput):
        return "check"
    return "checks" if isinstance(widget, forms.CheckboxSelectMultiple | forms.RadioSelect) else "line"
