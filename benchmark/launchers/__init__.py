"""Launchers: ways to run the tasks of a grid."""
