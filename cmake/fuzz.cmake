# tests/fuzz/<target>_fuzz.cpp -> program fuzz_<target> (docs/fuzzing.md). In every build it replays
# the kept inputs, as unit test fuzz.<target>; with RONDO_FUZZ=ON it is a fuzzer of clang's libFuzzer
# and is run by tools/fuzz.
if(RONDO_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "RONDO_FUZZ=ON needs clang (found ${CMAKE_CXX_COMPILER_ID}): "
      "use the preset fuzz, as tools/fuzz does")
  endif()
  target_compile_options(rondo_options INTERFACE -O1 -fno-omit-frame-pointer
    -fsanitize=fuzzer-no-link,address,undefined,float-cast-overflow -fno-sanitize-recover=all)
  target_link_options(rondo_options INTERFACE -fsanitize=address,undefined)
endif()

# The folder whose library holds the reader that a target fuzzes.
set(RONDO_FUZZ_safetensors storage)
set(RONDO_FUZZ_manifest checkpoint)
set(RONDO_FUZZ_yaml train)
set(RONDO_FUZZ_packed data)
set(RONDO_FUZZ_tokenized data)
set(RONDO_FUZZ_hdf5 data)

function(rondo_fuzzers)
  set(fuzz ${CMAKE_SOURCE_DIR}/tests/fuzz)
  add_library(rondo_fuzz_support STATIC ${fuzz}/input.cpp ${fuzz}/hdf5_content.cpp)
  target_link_libraries(rondo_fuzz_support PUBLIC rondo_data)
  target_include_directories(rondo_fuzz_support PUBLIC ${CMAKE_SOURCE_DIR}/tests)
  target_precompile_headers(rondo_fuzz_support REUSE_FROM rondo_pch)
  add_library(rondo_replay OBJECT ${fuzz}/replay_main.cpp)
  target_link_libraries(rondo_replay PRIVATE rondo_options rondo_small)
  foreach(target safetensors manifest yaml packed tokenized hdf5)
    add_executable(fuzz_${target} ${fuzz}/${target}_fuzz.cpp)
    target_link_libraries(fuzz_${target} PRIVATE rondo_${RONDO_FUZZ_${target}} rondo_fuzz_support)
    target_precompile_headers(fuzz_${target} REUSE_FROM rondo_pch)
    if(RONDO_FUZZ)
      target_link_options(fuzz_${target} PRIVATE -fsanitize=fuzzer)
      continue()
    endif()
    target_sources(fuzz_${target} PRIVATE $<TARGET_OBJECTS:rondo_replay>)
    add_test(NAME fuzz.${target}
      COMMAND fuzz_${target} ${fuzz}/corpus/${target} ${fuzz}/regressions/${target})
    set_tests_properties(fuzz.${target} PROPERTIES LABELS unit TIMEOUT 300
      ENVIRONMENT "${RONDO_TEST_ENV}")
  endforeach()
endfunction()
