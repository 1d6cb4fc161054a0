"""The optical flows that TapLab's motion vectors are compared with."""

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import jax

from experiments.settings import SettingsError
from jaxseg.arrays import Params
from jaxseg.convert import load_flownet2, load_pwc_net, read_weights
from jaxseg.flows import dis_flow
from jaxseg.nets import Flow, default_dtype, flownet2, flownet2_s, flownet_c, pwc_net

FlowName: TypeAlias = Literal["dis", "pwc-net", "flownet2", "flownet2-c", "flownet2-s"]

FLOW_NETS: dict[str, tuple[Callable[..., Flow], Callable[..., Params]]] = {
    "pwc-net": (pwc_net, load_pwc_net),
    "flownet2": (flownet2, load_flownet2),
    "flownet2-c": (flownet_c, load_flownet2),
    "flownet2-s": (flownet2_s, load_flownet2),
}
"""Of each flow net what makes it, and what puts published weights into it."""


class NamedFlow(NamedTuple):
    """An optical flow, and its variables; None for random ones, fit for timing alone."""

    flow: Flow
    learned: Params | None


def open_flows(
    names: Sequence[FlowName] | None, weights: Mapping[FlowName, Path]
) -> dict[str, NamedFlow]:
    """Find the optical flows that the codec's motion is compared with.

    Args:
        names: Which; None for OpenCV's where it is installed, and those with weights.
        weights: Files of published weights; a flow net without any is only timed.

    Returns:
        The flows by name.

    Raises:
        SettingsError: If weights do not fit.
        ImportError: If OpenCV is wanted, but not installed.
        OSError: If a file of weights cannot be read.
    """
    if names is None:
        has_opencv = importlib.util.find_spec("cv2") is not None
        if not has_opencv:
            reason = "OpenCV is not installed (pip install 'jaxseg[bench]')"
            print(f"the flow dis is left out: {reason}", file=sys.stderr)
        names = (*(("dis",) if has_opencv else ()), *weights)
    return {
        name: NamedFlow(dis_flow(), {}) if name == "dis" else _flow_net(name, weights.get(name))
        for name in names
    }


def with_flow(params: Params, flow: NamedFlow | None) -> Params:
    """Put the variables of a flow where schemes look for them.

    Args:
        params: The net's variables.
        flow: With its variables; None to leave them as they are.

    Returns:
        The variables of both.
    """
    if flow is None:
        return params
    return {**params, "params": {**params["params"], "flow": flow.learned or {}}}


def _flow_net(name: str, weights: Path | None) -> NamedFlow:
    make_fn, load_fn = FLOW_NETS[name]
    flow = make_fn(dtype=default_dtype())
    if weights is None:
        return NamedFlow(flow, None)
    frame = jax.ShapeDtypeStruct((1, 64, 64, 3), "uint8")
    shapes = jax.eval_shape(flow.init, jax.random.key(0), frame)
    try:
        return NamedFlow(flow, load_fn(shapes, read_weights(weights)))
    except ValueError as error:
        raise SettingsError(f"{weights}: {error}") from error
