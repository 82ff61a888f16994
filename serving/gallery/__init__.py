"""Pages for the person with a picture: models, uploads, results, history. A Django app.

It predicts through the router, as any caller does. Imports accounts.
"""
