"""`Idempotency-Key`: a request that is sent twice gets the answer of the first time.

Imports `serving.wire`.
"""
