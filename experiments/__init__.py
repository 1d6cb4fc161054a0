"""Experiments: frozen settings, one runner, and what was measured; never installed."""
