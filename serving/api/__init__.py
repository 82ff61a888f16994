"""The calls that the router answers itself (predictions, feedback, usage), and the OpenAPI document of all calls.

Imports `serving.access`, `serving.router`, `serving.openapi`, `serving.query`, `serving.wire` and `serving.client`.
"""
