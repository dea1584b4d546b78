# CUDA. First the NCCL backend: where the CUDA headers and NCCL's are, comm/nccl_group.cpp is
# compiled, so that it cannot rot; it is linked into rondo, in the place of comm/no_nccl.cpp, only
# with RONDO_CUDA=ON, or with RONDO_CUDA=auto on a machine that has a GPU. A CPU build links no CUDA
# library.

set(rondo_cuda_missing "")
if(NOT EXISTS ${RONDO_TORCH}/include/c10/cuda/impl/cuda_cmake_macros.h
   OR NOT EXISTS ${RONDO_TORCH}/lib/libtorch_cuda.so)
  list(APPEND rondo_cuda_missing "a libtorch with CUDA")
endif()
# Beside the machine's toolkit: the packages that pip installs with torch.
get_filename_component(rondo_packages ${RONDO_TORCH} DIRECTORY)
set(rondo_pip_cuda ${rondo_packages}/nvidia/cu13)
find_path(RONDO_CUDA_INCLUDE cuda_runtime_api.h
  HINTS ${rondo_pip_cuda}/include $ENV{CUDA_HOME}/include /usr/local/cuda/include)
find_library(RONDO_CUDART NAMES cudart libcudart.so.13
  HINTS ${rondo_pip_cuda}/lib $ENV{CUDA_HOME}/lib64 /usr/local/cuda/lib64)
find_path(RONDO_NCCL_INCLUDE nccl.h HINTS ${rondo_packages}/nvidia/nccl/include)
find_library(RONDO_NCCL NAMES nccl libnccl.so.2 HINTS ${rondo_packages}/nvidia/nccl/lib)
if(NOT RONDO_CUDA_INCLUDE OR NOT RONDO_CUDART)
  list(APPEND rondo_cuda_missing "CUDA's runtime")
endif()
if(NOT RONDO_NCCL_INCLUDE OR NOT RONDO_NCCL)
  list(APPEND rondo_cuda_missing "NCCL")
endif()

set(rondo_link_nccl OFF)
if(RONDO_CUDA STREQUAL "auto")
  if(EXISTS /dev/nvidia0)
    set(rondo_link_nccl ON)
  endif()
elseif(RONDO_CUDA)
  set(rondo_link_nccl ON)
endif()

set(rondo_nccl_source ${CMAKE_SOURCE_DIR}/src/comm/nccl_group.cpp)
if(RONDO_CUDA STREQUAL "OFF")
  message(STATUS "left out the NCCL backend: RONDO_CUDA=OFF")
elseif(rondo_cuda_missing)
  list(JOIN rondo_cuda_missing ", " rondo_cuda_missing)
  if(RONDO_CUDA STREQUAL "auto")
    message(STATUS "left out the NCCL backend: not found: ${rondo_cuda_missing}")
  else()
    message(FATAL_ERROR "RONDO_CUDA=${RONDO_CUDA}, but not found: ${rondo_cuda_missing}. "
      "launch/setup installs torch with CUDA and NCCL.")
  endif()
elseif(rondo_link_nccl)
  get_target_property(sources rondo_comm SOURCES)
  list(FILTER sources EXCLUDE REGEX "/no_nccl\\.cpp$")
  set_target_properties(rondo_comm PROPERTIES SOURCES "${sources}")
  target_sources(rondo_comm PRIVATE ${rondo_nccl_source})
  target_include_directories(rondo_comm SYSTEM PRIVATE ${RONDO_CUDA_INCLUDE} ${RONDO_NCCL_INCLUDE})
  target_link_libraries(rondo_comm PUBLIC -Wl,--no-as-needed ${RONDO_TORCH}/lib/libtorch_cuda.so
    ${RONDO_TORCH}/lib/libc10_cuda.so -Wl,--as-needed ${RONDO_NCCL} ${RONDO_CUDART})
else()
  message(STATUS "left out of the program, compiled only: the NCCL backend (no GPU here; RONDO_CUDA=ON links it)")
  add_library(rondo_nccl OBJECT ${rondo_nccl_source})
  target_link_libraries(rondo_nccl PRIVATE rondo_options rondo_small rondo_torch)
  target_include_directories(rondo_nccl SYSTEM PRIVATE ${RONDO_CUDA_INCLUDE} ${RONDO_NCCL_INCLUDE})
  target_precompile_headers(rondo_nccl REUSE_FROM rondo_pch)
endif()

# The kernels, by nvcc: for sm_80 and sm_90, with PTX for what comes after. Compiled wherever nvcc
# can, so that they cannot rot; linked where there is a GPU.
find_program(RONDO_NVCC nvcc
  HINTS ${rondo_pip_cuda}/bin $ENV{CUDA_HOME}/bin /usr/local/cuda/bin)
if(RONDO_CUDA STREQUAL "OFF")
  message(STATUS "left out the kernels for GPUs: RONDO_CUDA=OFF")
elseif(NOT RONDO_NVCC)
  message(STATUS "left out the kernels for GPUs: no nvcc")
else()
  # A toolkit that is too old, or not made for this compiler, must not end a build for CPUs.
  set(probe ${CMAKE_BINARY_DIR}/nvcc_probe.cu)
  file(WRITE ${probe} "#include <concepts>\n__global__ void probe() {}\n")
  execute_process(
    COMMAND ${RONDO_NVCC} -std=c++20 -ccbin ${CMAKE_CXX_COMPILER}
      -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=compute_90
      -c ${probe} -o ${probe}.o
    RESULT_VARIABLE failed OUTPUT_VARIABLE said ERROR_VARIABLE said)
  if(NOT failed)
    set(CMAKE_CUDA_COMPILER ${RONDO_NVCC})
    set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
    enable_language(CUDA)
    # CMake 3.25 does not know that nvcc has C++20.
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    file(GLOB kernels CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kernels/cuda/*.cu)
    add_library(rondo_kernels_cuda STATIC ${kernels})
    target_include_directories(rondo_kernels_cuda PUBLIC ${CMAKE_SOURCE_DIR}/src)
    target_compile_options(rondo_kernels_cuda PRIVATE --Werror=all-warnings
      -Xcompiler=-Wall,-Wextra,-Wshadow,-Werror)
  elseif(RONDO_CUDA STREQUAL "ON")
    message(FATAL_ERROR "RONDO_CUDA=ON, but ${RONDO_NVCC} cannot compile C++20 for sm_80 and "
      "compute_90 with ${CMAKE_CXX_COMPILER}:\n${said}")
  else()
    message(STATUS "left out the kernels for GPUs: ${RONDO_NVCC} cannot compile C++20 for them")
  endif()
endif()
