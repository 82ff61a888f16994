"""One version behind HTTP. This room goes into the Bento.

Imports `serving.tasks`, `serving.releases`, `serving.wire` and `serving.client.schemas`.
"""
