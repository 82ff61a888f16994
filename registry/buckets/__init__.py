"""Buckets of S3, and of services with its protocol: where they may be, how writes are encrypted, what went wrong.

`regions.check` comes before the first byte of a bucket is read or written. Import it, `client`, `errors` and
`encryption` from here. Imports `registry.core` only.
"""
