"""`visionloop demo`: the whole loop on starter data, shown on the story page while it runs.

Imports every room of this package but `flows.cli`, `flows.batch` and `flows.spark`.
"""
