"""What people look at: Evidently's report, the verdict's page, and the look at a version that makes both.

Imports the other rooms of this package.
"""
