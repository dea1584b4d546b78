"""Which shared libraries a bundle carries.

Four kinds. Those of glibc are the target's: they belong to its kernel and its loader. Those of
torch, CUDA and NCCL are its too, from its own Python: they are gigabytes, and belong to its driver.
libstdc++, libgcc and libgomp are carried as spares: there can be only one of each in a process, and
it must be the newest that any library asks for, which is nearly always the target's own; the spare
is taken where the loader says that the target's is missing or too old. All others are carried.
"""

import re
from pathlib import Path

from rondo_tools.bundle import elf
from rondo_tools.errors import UserError

_GLIBC = re.compile(
    r"(ld-linux.*|lib(c|m|mvec|dl|rt|pthread|resolv|util|anl|nsl|crypt|BrokenLocale))\.so\.\d+$"
)
_SPARE = re.compile(r"lib(stdc\+\+|gcc_s|gomp)\.so\.\d+$")
_TORCH = re.compile(
    r"lib(torch|c10|caffe2|cuda|cudart|cublas|cublasLt|cudnn|cufft|cufile|cupti|curand|cusolver|"
    r"cusparse|cusparseLt|nccl|nvidia|nvJitLink|nvToolsExt|nvrtc|nvshmem)[\w.-]*\.so"
)


class Libraries:
    """What programs and plugins need: `carried` and `spare` as {name: path}, `torch` as names."""

    def __init__(self, torch):
        """`torch`: the folder of the torch package that the programs were built with."""
        self.carried, self.spare, self.torch = {}, {}, set()
        # Beside it lie the packages of CUDA's libraries.
        self._of_torch = (torch.resolve() / "lib", torch.resolve().parent / "nvidia")

    def add(self, path):
        """All that the loader finds for a program or library. Throws where it does not find it."""
        for name, where in elf.loaded(path).items():
            self._add(name, where, path)

    def _add(self, name, where, asked_by):
        if _GLIBC.match(name):
            return
        if _SPARE.match(name) and where:
            self.spare[name] = where
        elif _TORCH.match(name) or (where and self._is_of_torch(where)):
            self.torch.add(name)
        elif where:
            self.carried[name] = where
        else:
            raise UserError(
                f"{asked_by}: needs {name}, which is not found on this machine. Load the modules "
                f"that rondo was built with, or set LD_LIBRARY_PATH."
            )

    def _is_of_torch(self, path):
        return any(Path(path).resolve().is_relative_to(folder) for folder in self._of_torch)
