"""Runs of people with a picture: an uploaded file, the router's prediction for it, and the files of both, encrypted.

A Django app, and ASGI routes for what Django must not read. Runs survive the end of any process: their state is in the
database, and a runner in the web application's process goes on with them. Imports accounts.
"""
