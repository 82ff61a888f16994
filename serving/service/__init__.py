"""One version behind HTTP. This room goes into the Bento.

Imports `serving.tasks`, `serving.releases` and `serving.wire`.
"""
