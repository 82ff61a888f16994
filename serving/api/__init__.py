"""The calls that the router answers itself (predictions, feedback, usage), and the OpenAPI document of all calls.

Imports `serving.access`, `serving.router`, `serving.service` (for its document), `serving.wire` and `serving.client`.
"""
