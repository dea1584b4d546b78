# CUDA. First the parts of the program that need its headers: the NCCL backend (comm/nccl_*.cpp) and
# the way to the kernels (kernels/device/*.cpp). Where the headers are they are compiled, so that they
# cannot rot; they are linked into rondo, in the place of comm/no_nccl.cpp and kernels/no_device.cpp,
# only with RONDO_CUDA=ON, or with RONDO_CUDA=auto on a machine that has a GPU. A CPU build links no
# CUDA library.

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

# nvcc. A toolkit that is too old, or not made for this compiler, must not end a build for CPUs.
find_program(RONDO_NVCC nvcc
  HINTS ${rondo_pip_cuda}/bin $ENV{CUDA_HOME}/bin /usr/local/cuda/bin)
set(rondo_nvcc_missing "")
if(NOT RONDO_NVCC)
  set(rondo_nvcc_missing "nvcc")
else()
  set(probe ${CMAKE_BINARY_DIR}/nvcc_probe.cu)
  file(WRITE ${probe} "#include <concepts>\n__global__ void probe() {}\n")
  execute_process(
    COMMAND ${RONDO_NVCC} -std=c++20 -ccbin ${CMAKE_CXX_COMPILER}
      -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=compute_90
      -c ${probe} -o ${probe}.o
    RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
  if(failed)
    set(rondo_nvcc_missing
      "an nvcc that compiles C++20 for sm_80 and compute_90 with ${CMAKE_CXX_COMPILER} (${RONDO_NVCC} does not)")
  endif()
endif()

# What is compiled, and whether it is linked into the program.
set(rondo_all_missing ${rondo_cuda_missing} ${rondo_nvcc_missing})
list(JOIN rondo_all_missing ", " rondo_all_missing)
list(JOIN rondo_cuda_missing ", " rondo_cuda_missing)
set(rondo_link_cuda OFF)
if(RONDO_CUDA STREQUAL "OFF")
  set(rondo_cuda_missing "RONDO_CUDA=OFF")
  set(rondo_nvcc_missing "RONDO_CUDA=OFF")
elseif(RONDO_CUDA STREQUAL "auto")
  file(GLOB gpus /dev/nvidia[0-9]*)
  if(gpus AND rondo_all_missing)
    message(STATUS "There is a GPU, but this build is for CPUs alone: not found: ${rondo_all_missing}")
  elseif(gpus)
    set(rondo_link_cuda ON)
  endif()
elseif(RONDO_CUDA)
  if(rondo_all_missing)
    message(FATAL_ERROR "RONDO_CUDA=${RONDO_CUDA}, but not found: ${rondo_all_missing}. launch/setup "
      "installs torch with CUDA and NCCL; nvcc 13 is part of the CUDA toolkit.")
  endif()
  set(rondo_link_cuda ON)
endif()

# Puts `sources` in the place of what stands in for them in a library.
function(rondo_replace library stand_in)
  get_target_property(kept ${library} SOURCES)
  list(FILTER kept EXCLUDE REGEX "/${stand_in}$")
  set_target_properties(${library} PROPERTIES SOURCES "${kept}")
  target_sources(${library} PRIVATE ${ARGN})
  target_include_directories(${library} SYSTEM PRIVATE ${RONDO_CUDA_INCLUDE} ${RONDO_NCCL_INCLUDE})
endfunction()

file(GLOB rondo_nccl_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/comm/nccl_*.cpp)
file(GLOB rondo_device_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kernels/device/*.cpp)
if(rondo_cuda_missing)
  message(STATUS "left out what GPUs need: not found: ${rondo_cuda_missing}")
elseif(rondo_link_cuda)
  rondo_replace(rondo_comm no_nccl.cpp ${rondo_nccl_sources})
  rondo_replace(rondo_kernels no_device.cpp ${rondo_device_sources})
  target_link_libraries(rondo_comm PUBLIC ${RONDO_NCCL})
  target_link_libraries(rondo_base PUBLIC -Wl,--no-as-needed ${RONDO_TORCH}/lib/libtorch_cuda.so
    ${RONDO_TORCH}/lib/libc10_cuda.so -Wl,--as-needed ${RONDO_CUDART})
else()
  message(STATUS "left out of the program, compiled only: what GPUs need (no GPU here; RONDO_CUDA=ON links it)")
  add_library(rondo_cuda_parts OBJECT ${rondo_nccl_sources} ${rondo_device_sources})
  target_link_libraries(rondo_cuda_parts PRIVATE rondo_options rondo_small rondo_torch)
  target_include_directories(rondo_cuda_parts SYSTEM PRIVATE ${RONDO_CUDA_INCLUDE} ${RONDO_NCCL_INCLUDE})
  target_precompile_headers(rondo_cuda_parts REUSE_FROM rondo_pch)
endif()

# The kernels, by nvcc: for sm_80 and sm_90, with PTX for what comes after. Compiled wherever nvcc
# can, so that they cannot rot.
if(rondo_nvcc_missing)
  message(STATUS "left out the kernels for GPUs: not found: ${rondo_nvcc_missing}")
else()
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
  if(rondo_link_cuda)
    target_link_libraries(rondo_kernels PUBLIC rondo_kernels_cuda)
  endif()
endif()
