from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
import torch
from tests.train.test_loop import environment, go, log_lines, program, weights

from triptych.errors import TriptychError
from triptych.train.processes import ProcessGroup, choose_device


def free_port() -> str:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])


def run_two(out: Path, **settings) -> list[tuple[int, str]]:
    """Train on two gloo processes as torchrun would start them; their codes and stderr."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    processes = [
        subprocess.Popen(
            program(out, **settings),
            env=environment(**shared, RANK=str(rank), LOCAL_RANK=str(rank)),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    return [(p.wait(), error) for p in processes for error in [p.communicate(timeout=120)[1]]]


def test_two_processes_give_the_weights_of_one_with_the_same_batch(tmp_path):
    # Without batch norm and dropout, the sums differ by rounding only.
    parts = {"norm": "group", "dropout": 0.0}
    go(tmp_path / "one", parts=parts, optimisation={"steps": 6})
    recipe = {"optimisation": {"steps": 6}}
    results = run_two(tmp_path / "two", recipe=recipe, parts=parts)
    assert [code for code, _ in results] == [0, 0], results
    assert "step" in results[0][1]
    assert results[1][1] == "", "only the main process talks"
    theirs = weights(tmp_path / "two")
    for name, tensor in weights(tmp_path / "one").items():
        torch.testing.assert_close(tensor, theirs[name], atol=1e-6, rtol=0)
    alone, shared = log_lines(tmp_path / "one"), log_lines(tmp_path / "two")
    assert [line["step"] for line in shared] == [1, 2, 3, 4, 5, 6]
    for one, two in zip(alone, shared, strict=True):
        assert two["losses"] == pytest.approx(one["losses"], abs=1e-6)
        assert two["gradient_norm"] == pytest.approx(one["gradient_norm"], abs=1e-5)


def test_group_of_one_needs_no_communication():
    group = ProcessGroup(torch.device("cpu"))
    assert group.is_main
    assert group.highest(15) == 15
    assert group.mean_number(3) == 3.0
    assert torch.equal(group.mean(torch.tensor([1.0, 2.0])), torch.tensor([1.0, 2.0]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu_is_told():
    assert choose_device("auto").type == "cpu"
    with pytest.raises(TriptychError, match="torch sees no GPU"):
        choose_device("cuda")
