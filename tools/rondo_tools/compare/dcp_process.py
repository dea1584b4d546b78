"""One rank of the peer: saves and loads the tensors of `rondo bench checkpoint` by
torch.distributed.checkpoint, and times it.

A program of its own that launch/run starts as it starts rondo. Rank 0 writes the figures as JSON to
--result. Each rank owns its rows of every tensor (DTensor, Shard(0)), as FSDP2 has them; files are
synced (sync_files), and the folder is besides, so that a save is on disk when its time is taken.
"""

import argparse
import json
import os
import shutil
import statistics
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

ROWS = COLUMNS = 2048
KINDS = ("", "optimizer/exp_avg/", "optimizer/exp_avg_sq/")


def make_state(size, mesh):
    """Weights and two moments of as many matrices as make up the bytes."""
    matrices = max(1, size // (len(KINDS) * 4 * ROWS * COLUMNS))
    rows = ROWS // mesh.size()
    state = {}
    for number in range(matrices):
        for kind in KINDS:
            local = torch.arange(rows * COLUMNS, dtype=torch.float32).remainder_(8191).mul_(0.5)
            local = local.view(rows, COLUMNS)
            state[f"{kind}layers.{number}.weight"] = DTensor.from_local(local, mesh, [Shard(0)])
    return state


def bytes_of(state):
    return sum(4 * tensor.numel() for tensor in state.values())


def timed(action):
    """Seconds until all ranks are done."""
    dist.barrier()
    begin = time.perf_counter()
    action()
    dist.barrier()
    return time.perf_counter() - begin


def sync_folder(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def measure(options):
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    state = make_state(options.bytes, mesh)
    target = {name: DTensor.from_local(torch.zeros_like(tensor.to_local()), mesh, [Shard(0)])
              for name, tensor in state.items()}  # fmt: skip
    folder = Path(options.folder) / "dcp"

    def save():
        writer = dcp.FileSystemWriter(
            folder, single_file_per_rank=True, sync_files=True, thread_count=options.threads
        )
        dcp.save(state, storage_writer=writer)
        if dist.get_rank() == 0:
            sync_folder(folder)
            sync_folder(folder.parent)

    saves, loads = [], []
    for number in range(options.saves + 1):
        seconds = timed(save)
        loading = timed(lambda: dcp.load(target, storage_reader=dcp.FileSystemReader(folder)))
        if number > 0:  # the first is for the page cache
            saves.append(seconds)
            loads.append(loading)
        name = "layers.0.weight"
        if not torch.equal(target[name].to_local(), state[name].to_local()):
            raise RuntimeError("what was loaded is not what was saved")
        dist.barrier()
        if dist.get_rank() == 0:
            shutil.rmtree(folder)
            sync_folder(folder.parent)
        dist.barrier()
    size = bytes_of(state)
    return {
        "bytes": size,
        "save_bytes_per_s": size / statistics.median(saves),
        "load_bytes_per_s": size / statistics.median(loads),
        "save_seconds": saves,
        "load_seconds": loads,
        "torch": torch.__version__,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--saves", type=int, required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--result", type=Path, required=True, help="the ranks meet beside it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # Open MPI's names, absent where one rank runs without a launcher.
    rank = int(os.environ.get("OMPI_COMM_WORLD_RANK", "0"))
    size = int(os.environ.get("OMPI_COMM_WORLD_SIZE", "1"))
    store = dist.FileStore(str(options.result.with_name("store")), size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
    result = measure(options)
    if rank == 0:
        options.result.write_text(json.dumps(result), encoding="ascii")
    dist.barrier()
    dist.destroy_process_group()
    # Threads that PyTorch leaves behind can abort an orderly exit.
    os._exit(0)


if __name__ == "__main__":
    main()
