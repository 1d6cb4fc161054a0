"""Pictures, plots and reports: labels over frames, motion fields, what a run was like.

Only plots need matplotlib, which is imported where they are drawn.
"""

from jaxseg.draw.latencies import plot_latency, plot_shares
from jaxseg.draw.pictures import (
    colorize,
    draw_motion,
    draw_regions,
    draw_residual,
    grid_of_pictures,
    legend,
    motion_to_rgb,
    overlay,
    side_by_side,
    write_mask,
)
from jaxseg.draw.plots import (
    Panel,
    plot_accuracy_throughput,
    plot_breakdown,
    plot_curves,
    plot_sweep,
)
from jaxseg.draw.report import find_runs, write_report

__all__ = [
    "Panel",
    "colorize",
    "draw_motion",
    "draw_regions",
    "draw_residual",
    "find_runs",
    "grid_of_pictures",
    "legend",
    "motion_to_rgb",
    "overlay",
    "plot_accuracy_throughput",
    "plot_breakdown",
    "plot_curves",
    "plot_latency",
    "plot_shares",
    "plot_sweep",
    "side_by_side",
    "write_mask",
    "write_report",
]
