"""Training on four devices gives the numbers of one: this file is also the program that does it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.arrays import Gop, LabelledGop
from jaxseg.losses import scheme_loss, still_loss
from jaxseg.nets import Net
from jaxseg.nets.resnet import convolve, normalize
from jaxseg.schemes import interp_mv
from jaxseg.train import (
    TrainConfig,
    batch_mesh,
    init_state,
    make_optimizer,
    make_train_step,
    share_batch,
)

ROOT = Path(__file__).resolve().parents[1]
NUM_CLASSES, STEPS, SIZE, STRIDE = 3, 3, 64, 8
CONFIG = TrainConfig(STEPS, "sgd", learning_rate=0.3, warmup_steps=0, rates=(("classify", 0.0),))


class _Features(nn.Module):
    """A convolution and a batch normalisation, of which the nets are made."""

    @nn.compact
    def __call__(self, frames, *, train):
        x = frames.astype(jnp.float32) / 128 - 1
        x = convolve(x, 8, size=9, stride=STRIDE, name="conv")
        return nn.relu(normalize(x, name="bn", train=train))


def small_net() -> Net:
    """Make a net of one layer, normalised by the batch."""
    module, last = _Features(), nn.Conv(NUM_CLASSES, (1, 1))

    def init(key, frames):
        first = module.init(key, frames, train=False)
        features = jnp.zeros((1, 1, 8))
        learned = {"features": first["params"], "classify": last.init(key, features)["params"]}
        return {"params": learned, "batch_stats": first["batch_stats"]}

    def variables(params):
        return {"params": params["params"]["features"], "batch_stats": params["batch_stats"]}

    def features(params, frames):
        return module.apply(variables(params), frames, train=False)

    def classify(params, projected):
        return last.apply({"params": params["params"]["classify"]}, projected)

    def train_scores(params, frames):
        found, updated = module.apply(
            variables(params), frames, train=True, mutable=["batch_stats"]
        )
        return classify(params, found), updated["batch_stats"]

    return Net(init, features, lambda _, it: it, classify, train_scores, STRIDE, NUM_CLASSES)


def draw_batch(step: int, *, size: int = 4) -> LabelledGop:
    """Draw intervals of three frames, of which a part of one is labelled."""
    rng = np.random.default_rng(step)
    frames = rng.integers(256, size=(2, size, SIZE, SIZE, 3), dtype=np.uint8)
    labels = rng.integers(NUM_CLASSES + 1, size=(size, SIZE, SIZE), dtype=np.uint8)
    labels[labels == NUM_CLASSES] = 255
    labels[0, 8:] = 255  # A mean over devices of their means would then be another.
    motion = 8 * rng.standard_normal((size, 3, SIZE // 8, SIZE // 8, 2), np.float32)
    length = np.full(size, 3, np.int32)
    inter = rng.random(motion.shape[:-1]) < 0.9
    gop = Gop(frames[0][:, None], motion, inter, frames[1], length, rng.random(size) < 0.5)
    return LabelledGop(gop, rng.integers(3, size=size, dtype=np.int32), labels)


def still_batch(step: int):
    batch = draw_batch(step)
    return batch.gop.next_frame, batch.labels


def losses_and_variables(kind: str, mesh) -> tuple[list[float], list[float]]:
    """Train for three steps; give the losses, and the sizes of what was learned and seen."""
    net, optimizer = small_net(), make_optimizer(CONFIG)
    loss_fn = still_loss(net) if kind == "still" else scheme_loss(net, interp_mv(net))
    draw = still_batch if kind == "still" else draw_batch
    state = init_state(net, optimizer, draw_batch(0).gop.next_frame, key=jax.random.key(0))
    step_fn = make_train_step(loss_fn, optimizer, rates=CONFIG.rates, mesh=mesh)
    losses = []
    for step in range(STEPS):
        state, loss = step_fn(state, draw(step))
        losses.append(float(loss))
    return losses, [float(jnp.linalg.norm(leaf)) for leaf in jax.tree.leaves(state.params)]


def main() -> None:
    """Print what one and what all devices give, as JSON."""
    mesh = batch_mesh()
    shared = share_batch(draw_batch(0), mesh)
    print(
        json.dumps(
            {
                "num_devices": mesh.size,
                "rows": [piece.data.shape[0] for piece in shared.labels.addressable_shards],
                **{
                    kind: [losses_and_variables(kind, one) for one in (None, mesh)]
                    for kind in ("still", "scheme")
                },
            }
        )
    )


@pytest.fixture(scope="module")
def measured() -> dict:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    environment = {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, __file__],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["still", "scheme"])
def test_four_devices_give_the_numbers_of_one(measured, kind):
    assert measured["num_devices"] == 4
    alone, together = measured[kind]
    assert len(alone[0]) == STEPS
    np.testing.assert_allclose(together[0], alone[0], atol=1e-5)
    np.testing.assert_allclose(together[1], alone[1], rtol=1e-5, atol=1e-5)


def test_each_device_gets_its_rows(measured):
    assert measured["rows"] == [1, 1, 1, 1]


def test_one_device_needs_no_mesh():
    assert jax.device_count() > 1 or batch_mesh() is None


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match=r"batch of 3 .* 2 devices; make batch_size a multiple"):
        share_batch(np.zeros((3, 2)), jax.sharding.Mesh(2 * jax.devices()[:1], ("batch",)))


if __name__ == "__main__":
    main()
