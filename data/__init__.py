"""Data sets and input pipelines; part of the repository, never installed."""
