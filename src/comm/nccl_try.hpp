// TRY_NCCL and TRY_CUDA: every call to NCCL and to the CUDA runtime goes through them.
#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "base/error.hpp"

#define TRY_NCCL(call)                                                          \
  do {                                                                          \
    const ncclResult_t try_nccl_code = (call);                                  \
    if (try_nccl_code != ncclSuccess) {                                         \
      throw ::rondo::base::SystemError(#call, static_cast<long>(try_nccl_code), \
                                       ncclGetErrorString(try_nccl_code));      \
    }                                                                           \
  } while (false)

#define TRY_CUDA(call)                                                          \
  do {                                                                          \
    const cudaError_t try_cuda_code = (call);                                   \
    if (try_cuda_code != cudaSuccess) {                                         \
      throw ::rondo::base::SystemError(#call, static_cast<long>(try_cuda_code), \
                                       cudaGetErrorString(try_cuda_code));      \
    }                                                                           \
  } while (false)
