"""HTTP without a model: connections and bodies within bounds, formats of answers, answers and errors.

Imports `serving.client.schemas` and no other room of this package.
"""
