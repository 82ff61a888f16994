"""The base of every room: settings, errors, files, the journal, the database, shared types, network runtimes.

May be imported from everywhere. Imports nothing of this project.
"""
