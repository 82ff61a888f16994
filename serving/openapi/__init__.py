"""What the API says about itself: OpenAPI of a model's calls, examples, a version's schema, the page that shows them.

Imports `serving.query`, `serving.wire` and `serving.client`.
"""
