"""What every room stands on: settings, errors, files, the journal, the database, array types, network runtimes.

May be imported from everywhere. Imports nothing of this project.
"""
