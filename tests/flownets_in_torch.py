"""FlowNet 2.0 and its members in torch, for its layers' names and for what they compute."""

import torch
from torch import nn
from torch.nn import functional

SKIPS = {5: "conv5_1", 4: "conv4_1", 3: "conv3_1", 2: "conv2"}
OUTPUTS = {5: 512, 4: 256, 3: 128, 2: 64}
INPUTS = {6: 1024, 5: 1026, 4: 770, 3: 386, 2: 194}
"""Channels of each level's map."""


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Module:
    layer = nn.Conv2d(inputs, outputs, size, stride, (size - 1) // 2)
    return nn.Sequential(layer, nn.LeakyReLU(0.1))


def deconv(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(0.1))


class Expanding(nn.Module):
    """What the members have in common: the way up, from the coarsest of several maps."""

    def add_levels(self, outputs: dict, inputs: dict, inner: dict, *, bias: bool = True) -> None:
        for level, channels in outputs.items():
            setattr(self, f"deconv{level}", deconv(inputs[level + 1], channels))
            name = f"upsampled_flow{level + 1}_to_{level}"
            setattr(self, name, nn.ConvTranspose2d(2, 2, 4, 2, 1, bias=bias))
        for level, channels in inputs.items():
            if level in inner:
                layer = nn.Conv2d(channels, inner[level], 3, 1, 1)
                setattr(self, f"inter_conv{level}", nn.Sequential(layer))
            layer = nn.Conv2d(inner.get(level, channels), 2, 3, 1, 1)
            setattr(self, f"predict_flow{level}", layer)

    def predict(self, x, level: int):
        if hasattr(self, f"inter_conv{level}"):
            x = getattr(self, f"inter_conv{level}")(x)
        return getattr(self, f"predict_flow{level}")(x)

    def expand(self, x, maps: dict, skips: dict):
        for level, name in skips.items():
            flow = self.predict(x, level + 1)
            flow = getattr(self, f"upsampled_flow{level + 1}_to_{level}")(flow)
            x = torch.cat([maps[name], getattr(self, f"deconv{level}")(x), flow], 1)
        return self.predict(x, min(skips))

    def add_deep_layers(self) -> None:
        self.conv4, self.conv4_1 = conv(256, 512, 3, 2), conv(512, 512)
        self.conv5, self.conv5_1 = conv(512, 512, 3, 2), conv(512, 512)
        self.conv6, self.conv6_1 = conv(512, 1024, 3, 2), conv(1024, 1024)

    def contract(self, x, *names: str) -> dict:
        maps = {}
        for name in names:
            x = maps[name] = getattr(self, name)(x)
        return maps


DEEP = ("conv4", "conv4_1", "conv5", "conv5_1", "conv6", "conv6_1")


class FlowNetS(Expanding):
    def __init__(self, channels: int = 6):
        super().__init__()
        self.conv1, self.conv2 = conv(channels, 64, 7, 2), conv(64, 128, 5, 2)
        self.conv3, self.conv3_1 = conv(128, 256, 5, 2), conv(256, 256)
        self.add_deep_layers()
        self.add_levels(OUTPUTS, INPUTS, {}, bias=False)

    def forward(self, x):
        maps = self.contract(x, "conv1", "conv2", "conv3", "conv3_1", *DEEP)
        return self.expand(maps["conv6_1"], maps, SKIPS)


class FlowNetC(Expanding):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = conv(3, 64, 7, 2), conv(64, 128, 5, 2)
        self.conv3, self.conv3_1 = conv(128, 256, 5, 2), conv(473, 256)
        self.conv_redir = conv(256, 32, 1)
        self.add_deep_layers()
        self.add_levels(OUTPUTS, INPUTS, {})

    def forward(self, x):
        of_first, of_second = (
            self.contract(it, "conv1", "conv2", "conv3") for it in (x[:, :3], x[:, 3:])
        )
        first, second = of_first["conv3"], of_second["conv3"]
        padded, (height, width) = functional.pad(second, [20] * 4), second.shape[2:]
        matches = [
            (first * padded[:, :, row : row + height, column : column + width]).mean(1)
            for row in range(0, 41, 2)
            for column in range(0, 41, 2)
        ]
        matched = functional.leaky_relu(torch.stack(matches, 1), 0.1)
        x = torch.cat([self.conv_redir(first), matched], 1)
        maps = self.contract(x, "conv3_1", *DEEP)
        return self.expand(maps["conv6_1"], {**of_first, **maps}, SKIPS)


class FlowNetSD(Expanding):
    def __init__(self):
        super().__init__()
        self.conv0, self.conv1, self.conv1_1 = conv(6, 64), conv(64, 64, 3, 2), conv(64, 128)
        self.conv2, self.conv2_1 = conv(128, 128, 3, 2), conv(128, 128)
        self.conv3, self.conv3_1 = conv(128, 256, 3, 2), conv(256, 256)
        self.add_deep_layers()
        self.add_levels(OUTPUTS, INPUTS, OUTPUTS)

    def forward(self, x):
        names = ("conv0", "conv1", "conv1_1", "conv2", "conv2_1", "conv3", "conv3_1", *DEEP)
        maps = self.contract(x, *names)
        return self.expand(maps["conv6_1"], maps, {**SKIPS, 2: "conv2_1"})


class FlowNetFusion(Expanding):
    def __init__(self):
        super().__init__()
        self.conv0, self.conv1, self.conv1_1 = conv(11, 64), conv(64, 64, 3, 2), conv(64, 128)
        self.conv2, self.conv2_1 = conv(128, 128, 3, 2), conv(128, 128)
        self.add_levels({1: 32, 0: 16}, {2: 128, 1: 162, 0: 82}, {1: 32, 0: 16})

    def forward(self, x):
        maps = self.contract(x, "conv0", "conv1", "conv1_1", "conv2", "conv2_1")
        return self.expand(maps["conv2_1"], maps, {1: "conv1_1", 0: "conv0"})


class FlowNet2(nn.Module):
    def __init__(self):
        super().__init__()
        self.flownetc, self.flownets_d = FlowNetC(), FlowNetSD()
        self.flownets_1, self.flownets_2 = FlowNetS(12), FlowNetS(12)
        self.flownetfusion = FlowNetFusion()

    def forward(self, x):
        first, second = x[:, :3], x[:, 3:]

        def error(warped):
            return torch.linalg.vector_norm(first - warped, dim=1, keepdim=True)

        flow = self.flownetc(x) * 20
        for net in (self.flownets_1, self.flownets_2):
            flow = functional.interpolate(flow, scale_factor=4, mode="bilinear")
            warped = resample(second, flow)
            flow = net(torch.cat([x, warped, flow / 20, error(warped)], 1)) * 20
        flow = functional.interpolate(flow, scale_factor=4)
        small = functional.interpolate(self.flownets_d(x) / 20, scale_factor=4)
        norms = [torch.linalg.vector_norm(it, dim=1, keepdim=True) for it in (small, flow)]
        errors = [error(resample(second, it)) for it in (small, flow)]
        return self.flownetfusion(torch.cat([first, small, flow, *norms, *errors], 1))


def resample(x, flow):
    """Fetch each pixel from where its flow points to, with the border repeated."""
    height, width = x.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    positions = torch.stack([columns, rows], -1) + flow.permute(0, 2, 3, 1)
    grid = 2 * positions / torch.tensor([width - 1, height - 1]) - 1
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=True)


def redraw(net: nn.Module) -> nn.Module:
    """Draw weights that neither let what passes die out nor grow."""
    torch.manual_seed(0)
    for tensor in net.parameters():
        is_bias, is_shared = tensor.ndim == 1, tensor.shape[-2:] == (4, 4)
        # A transposed convolution's kernel reaches each cell with four of its taps.
        taps = 1 if is_bias else tensor.shape[0] * 4 if is_shared else tensor[0].numel()
        nn.init.normal_(tensor, std=0.1 if is_bias else (2 / taps) ** 0.5)
    return net.eval()
