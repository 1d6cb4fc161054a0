"""Published weights, of torchvision's ResNets for the backbone and of flow nets.

    params = load_backbone(params, read_weights("resnet50.safetensors"))
    flow_params = load_flow(flow_params, read_weights("flownets.pth"))

torch is needed only to read its own pickles (`.pth`, `.pt`).
"""

from jaxseg.convert.backbone import load_backbone
from jaxseg.convert.flows import load_flow, load_flownet2
from jaxseg.convert.pwcnet import load_pwc_net
from jaxseg.convert.reading import read_weights

__all__ = ["load_backbone", "load_flow", "load_flownet2", "load_pwc_net", "read_weights"]
