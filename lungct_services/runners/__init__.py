"""Analyses of studies in processes of their own: a warm worker, or any program."""
