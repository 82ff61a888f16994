"""Files encrypted at rest: keys, the format, writing in pieces, reading from anywhere, rotation.

`registry.encryption.files` is what others use. Imports `registry.core`.
"""
