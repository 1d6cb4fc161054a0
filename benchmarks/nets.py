"""The net on every frame, against the same net in PyTorch.

Counted is one call from a uint8 frame on the device to scores a cell there: normalisation
of the pixels, the dilated ResNet at stride 16, the task net's two 1x1 convolutions.
Weights are random and the same in both; scores are compared before timing.  Both compute
in the type that suits the device, float32 on a CPU and bfloat16 on an accelerator.  Peers:

- torch: eager, in inference mode, its batch normalisation in evaluation mode; maps are
  [1, c, h, w].
- torch, channels last: the same with torch's other layout in memory.

`share_of_peak` holds the operations that the compiler counts against a large matrix
product in the same type; it may exceed 1 where convolutions have the better library.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from benchmarks.comparison import Call, TimeFn, compare, require_close
from benchmarks.inputs import NUM_CLASSES, NetCase, net_as_used, random_params
from benchmarks.machine import matmul_flops
from benchmarks.peers import Torch, find_torch
from experiments.timing import time_in_turn
from jaxseg.arrays import Frames, Params, Scores
from jaxseg.nets import NetConfig, default_dtype
from jaxseg.nets.resnet import BOTTLENECK_DEPTH, NUM_BLOCKS
from jaxseg.nets.segmenter import PIXEL_MEAN, PIXEL_STD

CASES = (
    NetCase("resnet18", NetConfig(NUM_CLASSES, depth=18), 360, 480),
    NetCase("resnet50", NetConfig(NUM_CLASSES, depth=50), 720, 960),
    NetCase("resnet101", NetConfig(NUM_CLASSES, depth=101), 720, 960),
)
TOLERANCE = {"float32": 1e-3, "bfloat16": 1e-1}


def measure(
    *, cases: Sequence[NetCase] = CASES, time_fn: TimeFn = time_in_turn
) -> list[dict[str, Any]]:
    """Time each net on one frame.

    Args:
        cases: Nets and sizes.
        time_fn: Does the timing.

    Returns:
        A row for each net and layout of torch's; none without torch.
    """
    torch = find_torch()
    if torch is None:
        return []
    peak_flops = matmul_flops(default_dtype(), time_fn=time_fn)
    return [
        row
        for case in tqdm(cases, desc="nets", unit="net", disable=None)
        for row in _measure_case(case, torch, peak_flops, time_fn)
    ]


def _measure_case(
    case: NetCase, torch: Torch, peak_flops: float, time_fn: TimeFn
) -> list[dict[str, Any]]:
    net = net_as_used(case.config)
    params = random_params(net)
    shape = (1, case.height, case.width, 3)
    frames = jax.device_put(np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8))

    @jax.jit
    def score(params: Params, frames: Frames) -> Scores:
        return net.classify(params, net.project(params, net.features(params, frames)))

    peers = {
        name: torch_scores(torch, params, frames, case.config, memory_format=memory_format)
        for name, memory_format in (
            ("torch", torch.module.contiguous_format),
            ("torch, channels last", torch.module.channels_last),
        )
    }
    dtype = dtype_name()
    for name, peer in peers.items():
        require_close(score(params, frames), peer(), name=name, tolerance=TOLERANCE[dtype])
    # Of the program as written: what it is compiled to may call libraries uncounted.
    cost: Any = score.lower(params, frames).cost_analysis()
    num_flops = cost["flops"]
    return [
        row
        | {
            "dtype": dtype,
            "gflop": num_flops / 1e9,
            "share_of_peak": num_flops / (row["ours_ms"] / 1000) / peak_flops,
            "peer_share_of_peak": num_flops / (row["peer_ms"] / 1000) / peak_flops,
        }
        for row in compare(
            lambda: score(params, frames),
            peers,
            time_fn=time_fn,
            benchmark="nets",
            case=f"{case.name} {case.width}x{case.height}",
            what="features, project, classify",
        )
    ]


def torch_scores(
    torch: Torch, params: Params, frames: Frames, config: NetConfig, *, memory_format: Any
) -> Call:
    """Prepare the net in torch, from the same variables.

    Args:
        torch: PyTorch.
        params: The net's variables.
        frames: `[1, H, W, 3]` uint8.
        config: What the net is made of; no decoder.
        memory_format: The layout of torch's maps and kernels.

    Returns:
        The call, whose result is the scores `[1, h, w, k]`.
    """
    functional, dtype = torch.module.nn.functional, getattr(torch.module, dtype_name())

    def place(leaf: jax.Array) -> Any:
        if leaf.ndim < 4:
            return torch.tensor(leaf)
        kernel = torch.tensor(leaf).permute(3, 2, 0, 1).to(dtype)
        return kernel.contiguous(memory_format=memory_format)

    learned, seen = (jax.tree.map(place, params[kind]) for kind in ("params", "batch_stats"))
    pixels = torch.tensor(frames).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
    mean, std = (
        torch.tensor(np.array(it, np.float32)[:, None, None]) for it in (PIXEL_MEAN, PIXEL_STD)
    )

    def convolve(
        x: Any, layers: Any, stats: Any, name: str, *, stride: int = 1, dilation: int = 1
    ) -> Any:
        kernel, norm = layers[name]["kernel"], name.replace("conv", "bn")
        x = functional.conv2d(
            x,
            kernel,
            stride=stride,
            padding=dilation * (kernel.shape[-1] // 2),
            dilation=dilation,
        )
        return functional.batch_norm(
            x, stats[norm]["mean"], stats[norm]["var"], layers[norm]["scale"], layers[norm]["bias"]
        )

    def run_block(x: Any, name: str, stride: int, dilations: tuple[int, int]) -> Any:
        layers, stats = learned["features"]["backbone"][name], seen["backbone"][name]
        if config.depth >= BOTTLENECK_DEPTH:
            y = convolve(x, layers, stats, "conv1").relu()
            y = convolve(y, layers, stats, "conv2", stride=stride, dilation=dilations[0]).relu()
            y = convolve(y, layers, stats, "conv3")
        else:
            y = convolve(x, layers, stats, "conv1", stride=stride, dilation=dilations[0]).relu()
            y = convolve(y, layers, stats, "conv2", dilation=dilations[1])
        if "downsample_conv" in layers:
            x = convolve(x, layers, stats, "downsample_conv", stride=stride)
        return (x + y).relu()

    def run_backbone(x: Any) -> Any:
        x = convolve(x, learned["features"]["backbone"], seen["backbone"], "conv1", stride=2)
        x = functional.max_pool2d(x.relu(), 3, stride=2, padding=1)
        reached, dilation = 4, 1
        for stage, num_blocks in enumerate(NUM_BLOCKS[config.depth], start=1):
            before, is_finer = dilation, stage == 1 or reached < config.output_stride
            stride = 1 if stage == 1 or not is_finer else 2
            reached, dilation = reached * stride, dilation if is_finer else 2 * dilation
            x = run_block(x, f"layer{stage}_0", stride, (before, dilation))
            for index in range(1, num_blocks):
                x = run_block(x, f"layer{stage}_{index}", 1, (dilation, dilation))
        return x

    def run_task_net(x: Any) -> Any:
        for part in ("project", "classify"):
            layer = learned[part]["conv"]
            x = functional.conv2d(x, layer["kernel"], layer["bias"].to(dtype))
            x = x.relu() if part == "project" else x.float()
        return x

    def score() -> Any:
        with torch.module.inference_mode():
            x = ((pixels.float() - mean) / std).to(dtype)
            return run_task_net(run_backbone(x)).permute(0, 2, 3, 1)

    return score


def dtype_name() -> str:
    """Name the type that nets compute in on this device.

    Returns:
        "float32" or "bfloat16".
    """
    return np.dtype(default_dtype()).name
