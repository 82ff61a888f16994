"""The contact form: messages to the administrators, and their answers."""

from __future__ import annotations

from django import forms
from django.core import signing
from django.core.mail import EmailMessage
from django.utils import timezone, translation
from django.utils.translation import gettext, gettext_lazy

from registry.core.errors import BadInput
from registry.core.settings import settings
from serving.accounts import audit, mail
from serving.accounts.models import Message, Role, User

LEAST_S, MOST_S = 3, 24 * 3600
"""A person takes at least this long to write, and keeps the page open no longer than that."""
_SALT = "contact"


class ContactForm(forms.Form):
    """Programs fill in `website`, which the page hides from people, or send the form at once."""

    name = forms.CharField(label=gettext_lazy("Your name"), max_length=80, required=False)
    email = forms.EmailField(label=gettext_lazy("Your e-mail address"), max_length=254)
    subject = forms.CharField(label=gettext_lazy("Subject"), max_length=120)
    text = forms.CharField(
        label=gettext_lazy("Message"), max_length=5000, min_length=10, widget=forms.Textarea(attrs={"rows": 8})
    )
    opened = forms.CharField(widget=forms.HiddenInput)

    def is_spam(self) -> bool:
        """Whether the field that nobody sees is filled in."""
        return bool(self.data.get("website"))

    def clean_name(self) -> str:
        return _one_line(self.cleaned_data["name"])

    def clean_subject(self) -> str:
        return _one_line(self.cleaned_data["subject"])

    def clean_opened(self) -> str:
        try:
            opened = signing.TimestampSigner(salt=_SALT)
            opened.unsign(self.cleaned_data["opened"], max_age=MOST_S)
        except signing.BadSignature as error:
            raise forms.ValidationError(gettext("This page was open too long. Please send it again.")) from error
        try:
            opened.unsign(self.cleaned_data["opened"], max_age=LEAST_S)
        except signing.SignatureExpired:
            return self.cleaned_data["opened"]
        raise forms.ValidationError(gettext("That was very quick. Please send it again."))


def opened() -> str:
    """When the form was shown, signed."""
    return signing.TimestampSigner(salt=_SALT).sign("form")


def receive(form: ContactForm, user: User | None) -> Message:
    """Keeps a message and tells the administrators."""
    given = {name: form.cleaned_data[name] for name in ("name", "email", "subject", "text")}
    message = Message.objects.create(**given, user=user, language=translation.get_language() or "en")
    receivers = _administrators()
    if receivers:
        text = gettext("%(name)s <%(email)s> wrote:") % {"name": message.name, "email": message.email}
        EmailMessage(
            subject=f"[visionloop] {message.subject}",
            body=f"{text}\n\n{message.text}\n",
            from_email=mail.sender_address(),
            to=receivers,
            reply_to=[message.email],
        ).send()
    return message


def answer(message: Message, text: str, who: User) -> None:
    """Sends an answer by mail and keeps it with the message. Raises BadInput: the text is empty."""
    if not text.strip():
        raise BadInput("the answer is empty", expected="a text", fix="write what the person should read")
    with translation.override(message.language):
        quoted = "\n".join(f"> {line}" for line in message.text.splitlines())
        wrote = gettext("On %(day)s you wrote:") % {"day": f"{message.time:%Y-%m-%d}"}
        EmailMessage(
            subject=f"Re: {message.subject}",
            body=f"{text.strip()}\n\n{wrote}\n{quoted}\n",
            from_email=mail.sender_address(),
            to=[message.email],
        ).send()
    message.answer, message.answered_by, message.answered = text.strip(), who.email, timezone.now()
    message.state = Message.State.ANSWERED
    message.save(update_fields=["answer", "answered_by", "answered", "state"])
    audit.note(who, "message.answer", f"message {message.pk}")


def close(message: Message, who: User, why: str = "") -> None:
    """Marks a message as done without an answer."""
    message.state = Message.State.CLOSED
    message.save(update_fields=["state"])
    audit.note(who, "message.close", f"message {message.pk}", why)


def delete(message: Message, who: User, why: str = "") -> None:
    """Deletes a message with its answer. The letter that told administrators of it is not reached any more."""
    number = message.pk
    message.delete()
    audit.note(who, "message.delete", f"message {number}", why)


def _administrators() -> list[str]:
    if settings().administrator_email:
        return [settings().administrator_email]
    found = User.objects.filter(role=Role.ADMINISTRATOR, is_active=True).exclude(email__endswith="@localhost")
    return list(found.values_list("email", flat=True))


def _one_line(text: str) -> str:
    """A header of a letter must not have a second line, where somebody else could add recipients."""
    if not text.isprintable():
        raise forms.ValidationError(gettext("Please write this in one line."))
    return text
