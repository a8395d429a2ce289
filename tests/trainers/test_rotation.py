"""OFT's rotation of blocks of outputs, without a ComfyUI."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from isengard.trainers.rotation import Rotation

OUTPUTS, BLOCKS = 1024, 4  # blocks of 256, which MKL factors in threads; of 128 it does not

ROTATE_AND_GO_BACK = f"""
import torch
torch.set_num_threads(2)
from trainers.rotation import Rotation
layer = Rotation(torch.nn.Linear(8, {OUTPUTS}), {BLOCKS})
for _ in range(20):
    torch.nn.init.normal_(layer.oft_blocks, std=0.1)
    layer(torch.ones(1, 8)).sum().backward()
    assert layer.oft_blocks.grad.isfinite().all()
"""


def test_outputs_are_turned_and_keep_their_length_block_by_block():
    torch.manual_seed(0)
    base = nn.Linear(8, OUTPUTS, bias=False)
    layer = Rotation(base, BLOCKS)
    x = torch.randn(3, 8)
    assert torch.equal(layer(x), base(x)), "blocks of 0 turn nothing"
    nn.init.normal_(layer.oft_blocks, std=0.1)
    before, after = (y.unflatten(-1, (BLOCKS, -1)) for y in (base(x), layer(x)))
    assert not torch.allclose(before, after, atol=0.1)
    torch.testing.assert_close(after.norm(dim=-1), before.norm(dim=-1))
    eye, skew = torch.eye(OUTPUTS // BLOCKS), layer.oft_blocks[0] - layer.oft_blocks[0].T
    cayley = (eye + skew) @ torch.linalg.inv(eye - skew)
    torch.testing.assert_close(after[:, 0], before[:, 0] @ cayley, atol=1e-4, rtol=1e-4)


def test_it_ends_in_a_process_that_has_set_its_threads():
    """A whole batch of blocks at once never ended there (pytorch/pytorch#142815)."""
    subprocess.run([sys.executable, "-c", ROTATE_AND_GO_BACK], check=True, timeout=60, cwd=Path(__file__).parents[2])
