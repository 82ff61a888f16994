"""The web application's process: Django's settings, addresses, security headers, the layout of all pages, static files.

Other rooms import nothing from it, except `configuration.setup()` in processes and commands that need its tables.
Imports gallery, accounts and office, which hold the pages.
"""
