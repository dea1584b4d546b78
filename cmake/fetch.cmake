# The small libraries from source: pinned by version and SHA-256, downloaded by CMake, built with
# rondo. Included with RONDO_FETCH=ON; fills rondo_small and rondo_gtest.
#
# Without network, give the unpacked sources: -DFETCHCONTENT_SOURCE_DIR_<NAME>=FOLDER with NAME one
# of YAML-CPP, FMT, SPDLOG, CLI11, NLOHMANN_JSON, XXHASH, GOOGLETEST.
include(FetchContent)
set(FETCHCONTENT_QUIET OFF)
if(POLICY CMP0135)
  cmake_policy(SET CMP0135 NEW)  # times of extraction, so that a new pin rebuilds
endif()
if(POLICY CMP0169)
  cmake_policy(SET CMP0169 OLD)  # FetchContent_Populate, so that targets nobody needs are not built
endif()
set(CMAKE_POLICY_DEFAULT_CMP0077 NEW)  # the set() lines below win over the projects' option()
set(CMAKE_POLICY_VERSION_MINIMUM 3.5)  # CMake 4 refuses what some of them ask for
set(BUILD_SHARED_LIBS OFF)

# rondo_fetch(NAME URL SHA256): declares and adds it, without its install rules.
macro(rondo_fetch name url sha256)
  FetchContent_Declare(${name} URL ${url} URL_HASH SHA256=${sha256} ${ARGN})
  FetchContent_GetProperties(${name})
  string(TOLOWER ${name} rondo_lower)
  if(NOT ${rondo_lower}_POPULATED)
    FetchContent_Populate(${name})
    if(EXISTS ${${rondo_lower}_SOURCE_DIR}/CMakeLists.txt)
      add_subdirectory(${${rondo_lower}_SOURCE_DIR} ${${rondo_lower}_BINARY_DIR} EXCLUDE_FROM_ALL)
    endif()
  endif()
endmacro()

set(YAML_CPP_BUILD_TESTS OFF)
set(YAML_CPP_BUILD_TOOLS OFF)
set(YAML_CPP_BUILD_CONTRIB OFF)
set(YAML_CPP_INSTALL OFF)
rondo_fetch(yaml-cpp https://github.com/jbeder/yaml-cpp/archive/refs/tags/0.8.0.tar.gz
  fbe74bbdcee21d656715688706da3c8becfd946d92cd44705cc6098bb23b3a16)

set(FMT_INSTALL OFF)
rondo_fetch(fmt https://github.com/fmtlib/fmt/archive/refs/tags/9.1.0.tar.gz
  5dea48d1fcddc3ec571ce2058e13910a0d4a6bab4cc09a809d8b1dd1c88ae6f2)

set(SPDLOG_FMT_EXTERNAL ON)
set(SPDLOG_INSTALL OFF)
rondo_fetch(spdlog https://github.com/gabime/spdlog/archive/refs/tags/v1.12.0.tar.gz
  4dccf2d10f410c1e2feaff89966bfc49a1abb29ef6f08246335b110e001e09a9)

set(CLI11_PRECOMPILED OFF)
set(CLI11_BUILD_TESTS OFF)
set(CLI11_BUILD_EXAMPLES OFF)
set(CLI11_BUILD_DOCS OFF)
rondo_fetch(CLI11 https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.3.2.tar.gz
  aac0ab42108131ac5d3344a9db0fdf25c4db652296641955720a4fbe52334e22)

set(JSON_BuildTests OFF)
set(JSON_Install OFF)
rondo_fetch(nlohmann_json https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz
  d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d)

# xxHash keeps its CMake project in a subfolder; its one source file is all that is needed.
rondo_fetch(xxhash https://github.com/Cyan4973/xxHash/archive/refs/tags/v0.8.2.tar.gz
  baee0c6afd4f03165de7a4e67988d16f0f2b257b51d0e3cb91909302a26a79c4)
add_library(rondo_xxhash STATIC ${xxhash_SOURCE_DIR}/xxhash.c)
target_include_directories(rondo_xxhash PUBLIC ${xxhash_SOURCE_DIR})

set(rondo_fetched yaml-cpp fmt spdlog CLI11 nlohmann_json rondo_xxhash)
if(RONDO_TESTS)
  set(INSTALL_GTEST OFF)
  rondo_fetch(googletest https://github.com/google/googletest/archive/refs/tags/v1.14.0.tar.gz
    8ad598c73ad796e0d8280b082cebd82a630d73e73cd3c70057938a6501bba5d7)
  list(APPEND rondo_fetched gtest gmock)
  target_link_libraries(rondo_gtest INTERFACE gtest gmock)
endif()

# Their headers are not held to rondo's warnings.
foreach(target ${rondo_fetched})
  get_target_property(aliased ${target} ALIASED_TARGET)
  if(aliased)
    set(target ${aliased})
  endif()
  get_target_property(includes ${target} INTERFACE_INCLUDE_DIRECTORIES)
  set_target_properties(${target} PROPERTIES INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${includes}")
endforeach()
target_link_libraries(rondo_small INTERFACE yaml-cpp fmt spdlog CLI11 nlohmann_json rondo_xxhash)
