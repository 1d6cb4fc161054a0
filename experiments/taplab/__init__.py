"""TapLab (Feng et al. 2020), measured: `python -m experiments.taplab`."""
