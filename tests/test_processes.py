"""Two processes that train together, interrupted and resumed, give the numbers of one."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxseg.checkpoints import Checkpoints
from jaxseg.losses import still_loss
from jaxseg.train import batch_mesh, init_state, make_optimizer, make_train_step, train
from tests.test_data_parallel import (
    CONFIG,
    ROOT,
    STEPS,
    losses_and_variables,
    small_net,
    still_batch,
)

NUM_PROCESSES, DEVICES_EACH = 2, 2


def train_to(num_steps: int, out: Path) -> dict:
    """Train from the latest checkpoint on, as `experiments.training` does; give the variables."""
    net, optimizer = small_net(), make_optimizer(CONFIG)
    state = init_state(net, optimizer, still_batch(0)[0], key=jax.random.key(0))
    with closing(Checkpoints(out / "checkpoints", cleanup=True)) as checkpoints:
        if latest := checkpoints.latest():
            training = state._replace(params={})
            restored = checkpoints.restore(latest, params=state.params, training=training)
            state = restored["training"]._replace(params=restored["params"])
        last = train(
            state,
            make_train_step(still_loss(net), optimizer, rates=CONFIG.rates, mesh=batch_mesh()),
            lambda start: map(still_batch, range(start, STEPS)),
            config=dataclasses.replace(CONFIG, num_steps=num_steps),
            checkpoints=checkpoints,
            evaluate_fn=lambda params: {"miou": float(params["batch_stats"]["bn"]["mean"][0])},
            log_path=out / "train.jsonl" if jax.process_index() == 0 else None,
            quiet=True,
        )
    return last.params


def main(port: str, index: str, out: str) -> None:
    """Be one of the processes."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", NUM_PROCESSES, int(index))
    assert jax.device_count() == NUM_PROCESSES * DEVICES_EACH
    train_to(STEPS - 1, Path(out))
    params = train_to(STEPS, Path(out))
    norms = [float(np.linalg.norm(leaf.addressable_data(0))) for leaf in jax.tree.leaves(params)]
    Path(out, f"norms{index}.json").write_text(json.dumps(norms))


def free_port() -> int:
    with closing(socket.socket()) as it:
        it.bind(("localhost", 0))
        return it.getsockname()[1]


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(tmp_path):
    flags = f"--xla_force_host_platform_device_count={DEVICES_EACH}"
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}",
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
    }
    port = free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(port), str(index), str(tmp_path)],
            env=environment,
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(NUM_PROCESSES)
    ]
    try:
        errors = [process.communicate(timeout=100)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * NUM_PROCESSES, errors
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    alone = losses_and_variables("still", None)
    np.testing.assert_allclose(losses, alone[0], atol=1e-5)
    for index in range(NUM_PROCESSES):
        norms = json.loads((tmp_path / f"norms{index}.json").read_text())
        np.testing.assert_allclose(norms, alone[1], rtol=1e-5, atol=1e-5)


if __name__ == "__main__":
    main(*sys.argv[1:])
