"""What comes from below the pages in English, in the reader's language: errors, models, states.

Its sources stay in English, for the API, the command line and the log. Imports the registry only.
"""
