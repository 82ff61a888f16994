"""The label in a request for feedback: a text or a file, in JSON or a form."""

from __future__ import annotations

import json

from django.http import HttpRequest

from registry.core.errors import BadInput, UnsupportedMedia
from serving.wire.json_inputs import kind_of

MAX_LABEL_LENGTH = 256
"""Characters of a label that is a text."""
_EXPECTED = "the label as text in the field `label`, or as a file in the field `file`"
_EXAMPLES = "e.g. `curl -F label=apple` or `curl -F file=@mask.nii.gz`"


def label_of(request: HttpRequest) -> str | bytes:
    """The label of a request: a class as text, or a file's bytes.

    Raises:
        BadInput: there is no label, or one that is not a text or a file.
        UnsupportedMedia: the body is not JSON and not a form.
    """
    kind = request.content_type or ""
    if kind == "application/json":
        return _text(_json(request.body))
    if kind != "multipart/form-data":
        raise UnsupportedMedia(
            f"the content type is {kind[:80] or 'missing'}",
            expected='application/json with {"label": ...}, or multipart/form-data with the field label or file',
            fix=_EXAMPLES,
        )
    try:
        fields, files = request.POST, request.FILES
    except Exception as error:  # Django has half a dozen for a malformed form
        raise BadInput("the multipart body is malformed", fix="let the HTTP library build the form") from error
    file = files.get("file") or files.get("label")
    if file is not None:
        content = file.read()
        if not content:
            raise BadInput("the label file is empty", expected="a label as the data set has it", fix="send it again")
        return bytes(content)
    if "label" not in fields:
        names = ", ".join(repr(name) for name in (*fields, *files)) or "no field"
        raise BadInput(f"the form holds {names}", expected=_EXPECTED, fix=_EXAMPLES)
    return _text(fields["label"])


def _json(body: bytes) -> object:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadInput("the body is not JSON", expected='{"label": "..."}', fix='e.g. {"label": "apple"}') from error
    if not isinstance(found, dict) or "label" not in found:
        names = f"holds {', '.join(map(repr, found)) or 'nothing'}"[:200] if isinstance(found, dict) else ""
        raise BadInput(
            f"the JSON body {names or 'is not an object'}",
            expected='{"label": "..."}',
            fix="put the label's text in `label`",
        )
    return found["label"]


def _text(label: object) -> str:
    expected = f"a text of 1 to {MAX_LABEL_LENGTH} characters"
    fix = 'e.g. `curl -F label=apple`, or {"label": "apple"} as JSON; a label that is a file goes in `file`'
    if not isinstance(label, str):
        raise BadInput(f"`label` is {kind_of(label)}: {json.dumps(label)[:80]}", expected=expected, fix=fix)
    if not 0 < len(label) <= MAX_LABEL_LENGTH:
        raise BadInput(f"`label` has {len(label)} characters", expected=expected, fix=fix)
    if not label.isprintable():
        raise BadInput(f"`label` has characters that cannot be printed: {label[:80]!r}", expected=expected, fix=fix)
    return label
