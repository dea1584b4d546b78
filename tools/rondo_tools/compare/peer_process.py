"""One rank of the peer: trains the benchmark model by FSDP2 or DDP and times its steps.

A program of its own that launch/run starts as it starts rondo, with the same binding and threads.
Rank 0 writes the outcome, figures or an error, as JSON to --result. The settings of each peer are
the fastest fair ones that were found: head and loss of labelled positions alone, fused AdamW, no
gradient sums but in the last micro-batch, FSDP2's weights whole until the last backward is done.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import transformers
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from rondo_tools.compare import peer_model
from rondo_tools.errors import UserError

PACKS, MICRO_PACKS, WARM_UP = 16, 4, 2


class Ddp:
    """Whole weights, gradients and moments on every rank."""

    def __init__(self, model):
        self.module = DistributedDataParallel(model, gradient_as_bucket_view=True)

    def micro_batch(self, last):
        return contextlib.nullcontext() if last else self.module.no_sync()


class Fsdp2:
    """Everything sharded over the ranks: each block a unit, the rest of the model another."""

    def __init__(self, model):
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        for block in model.model.layers:
            fully_shard(block, mesh=mesh, reshard_after_forward=False)
        self.module = fully_shard(model, mesh=mesh, reshard_after_forward=False)

    def micro_batch(self, last):
        self.module.set_is_last_backward(last)
        self.module.set_requires_gradient_sync(last)
        self.module.set_reshard_after_backward(last)
        return contextlib.nullcontext()


class Trainer:
    """Runs steps of all packs; a step is what src/train/step.cpp does."""

    def __init__(self, peer, batches):
        self.peer = peer
        self.batches = batches
        self.positions = peer_model.labelled_positions()
        self.labels = [tokens[:, self.positions + 1].reshape(-1) for tokens in batches]
        self.labelled = PACKS * len(self.positions)
        self.optimizer = torch.optim.AdamW(
            peer.module.parameters(), lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0,
            fused=True,
        )  # fmt: skip

    def step(self):
        """Loss over all ranks, before the update."""
        total = torch.zeros((), dtype=torch.float64)
        for number, (tokens, labels) in enumerate(zip(self.batches, self.labels, strict=True)):
            with self.peer.micro_batch(last=number + 1 == len(self.batches)):
                inputs = peer_model.inputs_of(tokens)
                logits = self.peer.module(**inputs, logits_to_keep=self.positions).logits
                loss = functional.cross_entropy(logits.flatten(0, 1), labels, reduction="sum")
                # Both peers average gradients over the ranks, and the loss is a sum over them.
                (loss * (dist.get_world_size() / self.labelled)).backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.peer.module.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        dist.all_reduce(total)
        return total.item() / self.labelled


def calibrate():
    """FLOP/s of all ranks together, as src/train/calibration.cpp measures it."""
    rows, inner, columns = 2048, 512, 1408
    a = torch.arange(rows * inner, dtype=torch.float32).remainder(7).add(1).view(rows, inner)
    b = torch.arange(inner * columns, dtype=torch.float32).remainder(5).add(1).view(inner, columns)
    out = torch.empty(rows, columns)
    torch.mm(a, b, out=out)
    dist.barrier()
    best_s = float("inf")
    for _ in range(12):
        begin = time.perf_counter()
        torch.mm(a, b, out=out)
        best_s = min(best_s, time.perf_counter() - begin)
    rate = torch.tensor(2.0 * rows * inner * columns / best_s, dtype=torch.float64)
    dist.all_reduce(rate)
    return rate.item()


def measure(options):
    """Figures of this rank, as those of `rondo bench step`."""
    ranks = dist.get_world_size()
    model = peer_model.make_model(options.layers)
    flops_per_token = peer_model.model_flops_per_token(model)
    micro_batches = PACKS // (ranks * MICRO_PACKS)
    batches = [
        peer_model.make_tokens(MICRO_PACKS, dist.get_rank() * micro_batches + number)
        for number in range(micro_batches)
    ]
    peer_model.check_packing(model, peer_model.inputs_of(batches[0]))
    if options.compile:
        for block in model.model.layers:
            block.compile()
    trainer = Trainer({"ddp": Ddp, "fsdp2": Fsdp2}[options.peer](model), batches)
    seconds, calibrations, fractions = [], [], []
    tokens_per_step = PACKS * peer_model.REAL_TOKENS_PER_PACK
    loss = 0.0
    for number in range(WARM_UP + options.steps):
        # Anew before every step, so that a machine whose speed wanders is compared with itself.
        calibration = calibrate()
        begin = time.perf_counter()
        loss = trainer.step()
        spent = time.perf_counter() - begin
        if number >= WARM_UP:
            seconds.append(spent)
            calibrations.append(calibration)
            fractions.append(flops_per_token * tokens_per_step / spent / calibration)
    typical = statistics.median_high(seconds)
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads_per_rank": torch.get_num_threads(),
        "median_seconds": typical,
        "best_seconds": min(seconds),
        "tokens_per_s": tokens_per_step / typical,
        "flops_per_token": flops_per_token,
        "calibration_flops": statistics.median_high(calibrations),
        "fraction_of_calibration": statistics.median_high(fractions),
        "loss": loss,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", choices=["fsdp2", "ddp"], required=True)
    parser.add_argument("--layers", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--result", type=Path, required=True, help="the ranks meet beside it")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    # Open MPI's names, absent where one rank runs without a launcher.
    rank = int(os.environ.get("OMPI_COMM_WORLD_RANK", "0"))
    ranks = int(os.environ.get("OMPI_COMM_WORLD_SIZE", "1"))
    store = options.result.with_name("store")
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=ranks,
        timeout=timedelta(minutes=10),
    )  # fmt: skip
    try:
        outcome = measure(options)
    except UserError as error:
        outcome = {"error": str(error)}
    if rank == 0:
        options.result.write_text(json.dumps(outcome), encoding="ascii")
    dist.barrier()
    dist.destroy_process_group()
    sys.stderr.flush()
    # Threads that PyTorch leaves behind can abort an orderly exit.
    os._exit(0)


if __name__ == "__main__":
    main()
