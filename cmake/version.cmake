# build/.../build_info.hpp: what `rondo --version` says of the build. Rewritten when the commit changes.
set(RONDO_COMPILER "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
add_custom_target(rondo_version
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUT=${CMAKE_BINARY_DIR}/generated/build_info.hpp
    -DVERSION=${PROJECT_VERSION} -DCOMPILER=${RONDO_COMPILER} -DTORCH=${RONDO_TORCH_VERSION}
    -DBUILD=${CMAKE_BUILD_TYPE} -P ${CMAKE_SOURCE_DIR}/cmake/write_version.cmake
  BYPRODUCTS ${CMAKE_BINARY_DIR}/generated/build_info.hpp VERBATIM)
add_dependencies(rondo_app rondo_version)
target_include_directories(rondo_app PRIVATE ${CMAKE_BINARY_DIR}/generated)
