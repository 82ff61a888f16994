"""One version behind HTTP. This room goes into the Bento.

Imports `serving.openapi`, `serving.tasks`, `serving.releases`, `serving.query`, `serving.wire` and
`serving.client.schemas`.
"""
