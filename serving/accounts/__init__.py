"""People: accounts, roles, their keys, mail, and the trail of what was done. A Django app.

Pages of the gallery and of the back office import its tables. It knows nothing of pictures.
"""
