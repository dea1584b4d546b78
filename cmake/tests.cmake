# tests/<folder>/*_test.cpp      -> one program, label unit (ranks are threads)
# tests/<folder>/*_mpitest.cpp   -> one program, run by mpirun -n 1 2 3 4, label mpi
# tests/<folder>/*_test.py       -> python -m unittest, label unit (e2e: label e2e)
include(GoogleTest)
file(GLOB support CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/support/*.cpp)
add_library(rondo_test_support STATIC ${support})
target_link_libraries(rondo_test_support PUBLIC rondo_gtest rondo_comm)
target_precompile_headers(rondo_test_support REUSE_FROM rondo_pch)
target_include_directories(rondo_test_support PUBLIC ${CMAKE_SOURCE_DIR}/tests)
target_compile_definitions(rondo_test_support PUBLIC RONDO_SOURCE_DIR="${CMAKE_SOURCE_DIR}")

file(GLOB python ${CMAKE_SOURCE_DIR}/.venv/bin/python)
set(RONDO_TEST_ENV "OMP_NUM_THREADS=1;MKL_CBWR=AVX2,STRICT;OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMPI_MCA_rmaps_base_oversubscribe=1;OMPI_MCA_mpi_yield_when_idle=1;OMPI_MCA_hwloc_base_binding_policy=none;RONDO_BINARY=${CMAKE_BINARY_DIR}/rondo;RONDO_SOURCE=${CMAKE_SOURCE_DIR};ASAN_OPTIONS=detect_leaks=0")

foreach(folder base comm kernels storage parallel data model checkpoint generate train app)
  file(GLOB unit CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${folder}/*_test.cpp)
  if(unit)
    rondo_test_program(test_${folder} ${folder} ${unit} ${CMAKE_SOURCE_DIR}/tests/support/main/unit_main.cpp)
    gtest_discover_tests(test_${folder} TEST_PREFIX ${folder}. DISCOVERY_MODE PRE_TEST
      PROPERTIES LABELS unit TIMEOUT 120 ENVIRONMENT "${RONDO_TEST_ENV}")
  endif()
  file(GLOB mpi CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${folder}/*_mpitest.cpp)
  if(mpi)
    rondo_test_program(mpitest_${folder} ${folder} ${mpi} ${CMAKE_SOURCE_DIR}/tests/support/main/mpi_main.cpp)
    foreach(ranks 1 2 3 4)
      add_test(NAME ${folder}.mpi${ranks}
        COMMAND ${MPIEXEC_EXECUTABLE} -n ${ranks} $<TARGET_FILE:mpitest_${folder}>)
      set_tests_properties(${folder}.mpi${ranks} PROPERTIES LABELS mpi PROCESSORS ${ranks} TIMEOUT 120
        ENVIRONMENT "${RONDO_TEST_ENV}")
    endforeach()
  endif()
endforeach()

# The C++ side of tests/model/oracle_test.py, which finds it beside the rondo binary.
rondo_test_program(model_oracle model ${CMAKE_SOURCE_DIR}/tests/model/oracle/main.cpp)

foreach(folder base comm kernels storage parallel data model checkpoint generate train app tools e2e)
  file(GLOB scripts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${folder}/*_test.py)
  foreach(script ${scripts})
    get_filename_component(name ${script} NAME_WE)
    if(NOT python)
      message(STATUS "left out ${folder}.${name}: no .venv (run launch/setup)")
      continue()
    endif()
    add_test(NAME ${folder}.${name} COMMAND ${python} -m unittest -v ${script}
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    if(folder STREQUAL "e2e")
      set_tests_properties(${folder}.${name} PROPERTIES LABELS e2e TIMEOUT 600 PROCESSORS 2 ENVIRONMENT "${RONDO_TEST_ENV}")
    else()
      set_tests_properties(${folder}.${name} PROPERTIES LABELS unit TIMEOUT 300 ENVIRONMENT "${RONDO_TEST_ENV}")
    endif()
  endforeach()
endforeach()
include(benchmarks)
