"""A queue of studies that survives crashes: one SQLite file, one job for each version of a study."""
