"""`visionloop demo`: the whole loop on starter data, told on the story page while it happens.

Imports every room of this package but `flows.cli` and `flows.batch`.
"""
