# Finds what rondo is built from, as interface targets:
#   rondo_torch  libtorch's CPU libraries, rondo_mpi, rondo_hdf5 (parallel), rondo_small (yaml-cpp,
#   fmt, spdlog, CLI11, nlohmann-json, xxhash), rondo_gtest.
# What is missing is named, all of it at once, with the ways to get it.
set(rondo_missing "")

# Ends the configuration when something is missing.
macro(rondo_require)
  if(rondo_missing)
    message(FATAL_ERROR "What rondo is built from was not found:${rondo_missing}")
  endif()
endmacro()

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 11)
  string(APPEND rondo_missing "\n  a C++20 compiler: g++ 11 or newer (found ${CMAKE_CXX_COMPILER_VERSION})"
    "\n    Debian: apt-get install g++"
    "\n    modules: module load gcc/12"
    "\n    Spack: spack install gcc@12"
    "\n    conda: conda install -c conda-forge gxx")
endif()

# --- libtorch: the pip wheel in .venv, or -DRONDO_TORCH=/folder/with/include/and/lib ------------
if(NOT RONDO_TORCH)
  file(GLOB found ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
  if(found)
    list(GET found 0 RONDO_TORCH)
  elseif(Torch_DIR)
    get_filename_component(RONDO_TORCH ${Torch_DIR}/../../.. ABSOLUTE)
  endif()
endif()
set(RONDO_TORCH "${RONDO_TORCH}" CACHE PATH "Folder of libtorch (include/ and lib/)")
if(NOT EXISTS ${RONDO_TORCH}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "libtorch was not found. Run launch/setup (it makes .venv with torch), or give "
    "-DRONDO_TORCH=FOLDER with include/ and lib/libtorch_cpu.so.")
endif()
add_library(rondo_torch INTERFACE)
target_include_directories(rondo_torch SYSTEM INTERFACE
  ${RONDO_TORCH}/include ${RONDO_TORCH}/include/torch/csrc/api/include)
# These two alone: a CPU program starts in 0.24 s instead of 0.36 s and needs no CUDA toolkit.
target_link_libraries(rondo_torch INTERFACE
  -Wl,--no-as-needed ${RONDO_TORCH}/lib/libtorch_cpu.so ${RONDO_TORCH}/lib/libc10.so -Wl,--as-needed)
target_compile_definitions(rondo_torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
file(READ ${RONDO_TORCH}/version.py torch_version_text)
string(REGEX MATCH "__version__ = '([^']+)'" _ "${torch_version_text}")
set(RONDO_TORCH_VERSION "${CMAKE_MATCH_1}")

# --- MPI ---------------------------------------------------------------------------------------
find_package(MPI COMPONENTS CXX)
if(NOT MPI_CXX_FOUND)
  string(APPEND rondo_missing "\n  MPI"
    "\n    Debian: apt-get install libopenmpi-dev openmpi-bin"
    "\n    modules: module load openmpi"
    "\n    Spack: spack install openmpi"
    "\n    conda: conda install -c conda-forge openmpi-mpicxx")
endif()
add_library(rondo_mpi INTERFACE)
if(MPI_CXX_FOUND)
  get_target_property(mpi_include MPI::MPI_CXX INTERFACE_INCLUDE_DIRECTORIES)
  target_include_directories(rondo_mpi SYSTEM INTERFACE ${mpi_include})
  target_compile_definitions(rondo_mpi INTERFACE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
  target_link_libraries(rondo_mpi INTERFACE MPI::MPI_CXX)
endif()

# --- HDF5 --------------------------------------------------------------------------------------
set(HDF5_PREFER_PARALLEL TRUE)
find_package(HDF5 COMPONENTS C)
if(NOT HDF5_FOUND OR NOT HDF5_IS_PARALLEL)
  string(APPEND rondo_missing "\n  HDF5 built for MPI (the one found, if any, is serial)"
    "\n    Debian: apt-get install libhdf5-openmpi-dev"
    "\n    modules: module load hdf5/parallel"
    "\n    Spack: spack install hdf5+mpi"
    "\n    conda: conda install -c conda-forge 'hdf5=*=mpi_openmpi*'")
endif()
add_library(rondo_hdf5 INTERFACE)
target_include_directories(rondo_hdf5 SYSTEM INTERFACE ${HDF5_INCLUDE_DIRS} ${mpi_include})
target_link_libraries(rondo_hdf5 INTERFACE ${HDF5_LIBRARIES} rondo_mpi)

# --- small libraries ---------------------------------------------------------------------------
add_library(rondo_small INTERFACE)
add_library(rondo_gtest INTERFACE)
if(RONDO_FETCH)
  rondo_require()
  include(fetch)
else()
  find_package(yaml-cpp QUIET)
  find_package(fmt QUIET)
  find_package(spdlog QUIET)
  find_package(CLI11 QUIET)
  find_package(nlohmann_json QUIET)
  find_path(xxhash_include xxhash.h)
  find_library(xxhash_library xxhash)
  if(RONDO_TESTS)
    find_package(GTest QUIET)
  endif()
  set(missing "")
  foreach(name yaml-cpp fmt spdlog CLI11 nlohmann_json)
    if(NOT ${name}_FOUND)
      list(APPEND missing ${name})
    endif()
  endforeach()
  if(NOT xxhash_include OR NOT xxhash_library)
    list(APPEND missing xxhash)
  endif()
  if(RONDO_TESTS AND NOT GTest_FOUND)
    list(APPEND missing GoogleTest)
  endif()
  if(missing)
    list(JOIN missing ", " missing)
    string(APPEND rondo_missing "\n  ${missing}"
      "\n    Debian: launch/setup, as root"
      "\n    elsewhere: launch/setup --fetch (or -DRONDO_FETCH=ON) builds them from pinned, hash-checked sources")
  endif()
  rondo_require()
  if(TARGET yaml-cpp::yaml-cpp)
    set(yaml_target yaml-cpp::yaml-cpp)
  else()
    set(yaml_target yaml-cpp)
  endif()
  target_include_directories(rondo_small SYSTEM INTERFACE ${xxhash_include})
  target_link_libraries(rondo_small INTERFACE ${yaml_target} fmt::fmt spdlog::spdlog CLI11::CLI11
    nlohmann_json::nlohmann_json ${xxhash_library})
  if(RONDO_TESTS)
    target_link_libraries(rondo_gtest INTERFACE GTest::gtest GTest::gmock)
  endif()
endif()
