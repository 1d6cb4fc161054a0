"""Pictures and plots: labels over frames, motion fields, and accuracy against throughput.

Only plots need matplotlib, which is imported where they are drawn.
"""

from jaxseg.draw.pictures import (
    colorize,
    draw_motion,
    grid_of_pictures,
    legend,
    motion_to_rgb,
    overlay,
    side_by_side,
)
from jaxseg.draw.plots import Panel, plot_accuracy_throughput, plot_breakdown, plot_curves

__all__ = [
    "Panel",
    "colorize",
    "draw_motion",
    "grid_of_pictures",
    "legend",
    "motion_to_rgb",
    "overlay",
    "plot_accuracy_throughput",
    "plot_breakdown",
    "plot_curves",
    "side_by_side",
]
