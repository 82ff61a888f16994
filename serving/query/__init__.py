"""What callers put into a query: parameters of a call, models by name, pages of lists.

Imports `serving.wire`.
"""
