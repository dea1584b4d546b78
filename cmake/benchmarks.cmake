# tests/kernels/bench_kernels.cpp -> bench_kernels, where Google Benchmark is installed. Not a test:
#   OMP_NUM_THREADS=1 build/release/bench_kernels
find_package(benchmark QUIET)
if(benchmark_FOUND)
  add_executable(bench_kernels ${CMAKE_SOURCE_DIR}/tests/kernels/bench_kernels.cpp)
  target_link_libraries(bench_kernels PRIVATE rondo_kernels benchmark::benchmark)
  target_precompile_headers(bench_kernels REUSE_FROM rondo_pch)
else()
  message(STATUS "left out bench_kernels: no Google Benchmark (Debian: libbenchmark-dev)")
endif()
