"""Video files: what they are, their frames as a player shows them, a detector run over them, WebM that browsers play.

Imports `registry.boxes`, `registry.contract`, `registry.vision` and `registry.core`.
"""
