# tests/<folder>/*_test.cpp      -> one program, label unit (ranks are threads)
# tests/<folder>/*_proptest.cpp  -> one program, label unit, where RapidCheck is
# tests/<folder>/*_mpitest.cpp   -> one program, run by mpirun -n 1 2 3 4, label mpi
# tests/<folder>/*_test.py       -> python -m unittest, label unit (e2e: label e2e)
# tests/kernels/device           -> the GPU kernels: emulated, label unit; on a GPU, label gpu
# tests/cluster/*_test.py        -> the same, label cluster, where root finds Slurm and namespaces
# tests/<folder>/*_slowtest.py   -> the same, label slow: minutes to an hour, by launch/test --all
include(GoogleTest)
file(GLOB support CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/support/*.cpp)
add_library(rondo_test_support STATIC ${support})
target_link_libraries(rondo_test_support PUBLIC rondo_gtest rondo_comm rondo_storage)
target_precompile_headers(rondo_test_support REUSE_FROM rondo_pch)
target_include_directories(rondo_test_support PUBLIC ${CMAKE_SOURCE_DIR}/tests)
target_compile_definitions(rondo_test_support PUBLIC RONDO_SOURCE_DIR="${CMAKE_SOURCE_DIR}")

file(GLOB python ${CMAKE_SOURCE_DIR}/.venv/bin/python)
set(RONDO_TEST_ENV "OMP_NUM_THREADS=1;MKL_CBWR=AVX2,STRICT;OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMPI_MCA_rmaps_base_oversubscribe=1;OMPI_MCA_mpi_yield_when_idle=1;OMPI_MCA_hwloc_base_binding_policy=none;RONDO_BINARY=${CMAKE_BINARY_DIR}/rondo;RONDO_SOURCE=${CMAKE_SOURCE_DIR};ASAN_OPTIONS=detect_leaks=0")

find_package(rapidcheck QUIET)
if(NOT rapidcheck_FOUND)
  message(STATUS "left out the tests of properties: no RapidCheck (Debian: librapidcheck-dev)")
endif()

foreach(folder base comm kernels plan storage parallel data model checkpoint generate train app)
  file(GLOB unit CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${folder}/*_test.cpp)
  if(unit)
    rondo_test_program(test_${folder} ${folder} ${unit} ${CMAKE_SOURCE_DIR}/tests/support/main/unit_main.cpp)
    gtest_discover_tests(test_${folder} TEST_PREFIX ${folder}. DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
      PROPERTIES LABELS unit TIMEOUT 120 ENVIRONMENT "${RONDO_TEST_ENV}")
  endif()
  file(GLOB properties CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${folder}/*_proptest.cpp)
  if(properties AND rapidcheck_FOUND)
    rondo_test_program(proptest_${folder} ${folder} ${properties} ${CMAKE_SOURCE_DIR}/tests/support/main/unit_main.cpp)
    target_link_libraries(proptest_${folder} PRIVATE rapidcheck)
    gtest_discover_tests(proptest_${folder} TEST_PREFIX ${folder}. DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
      PROPERTIES LABELS unit TIMEOUT 300 ENVIRONMENT "${RONDO_TEST_ENV}")
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

add_subdirectory(${CMAKE_SOURCE_DIR}/tests/kernels/device)

# LD_PRELOAD of tests/e2e/failing_calls_test.py, beside the rondo binary.
add_library(failing_calls SHARED ${CMAKE_SOURCE_DIR}/tests/support/shim/failing_calls.c)
target_link_libraries(failing_calls PRIVATE ${CMAKE_DL_LIBS})

# The C++ side of tests/model/oracle_test.py, which finds it beside the rondo binary.
rondo_test_program(model_oracle model ${CMAKE_SOURCE_DIR}/tests/model/oracle/main.cpp)

foreach(folder base comm kernels plan storage parallel data model checkpoint generate train app tools e2e)
  file(GLOB scripts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${folder}/*_test.py ${CMAKE_SOURCE_DIR}/tests/${folder}/*_slowtest.py)
  foreach(script ${scripts})
    get_filename_component(name ${script} NAME_WE)
    if(NOT python)
      message(STATUS "left out ${folder}.${name}: no .venv (run launch/setup)")
      continue()
    endif()
    if(name MATCHES "^(gsm8k|shared)_" AND NOT EXISTS ${CMAKE_SOURCE_DIR}/../shared/data)
      message(STATUS "left out ${folder}.${name}: ../shared/data is not there")
      continue()
    endif()
    add_test(NAME ${folder}.${name} COMMAND ${python} -m unittest -v ${script}
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    if(name MATCHES "_slowtest$")
      set(properties LABELS slow TIMEOUT 7200 PROCESSORS 2)
    elseif(folder STREQUAL "e2e")
      set(properties LABELS e2e TIMEOUT 600 PROCESSORS 2)
    else()
      set(properties LABELS unit TIMEOUT 300)
    endif()
    set_tests_properties(${folder}.${name} PROPERTIES ${properties} ENVIRONMENT "${RONDO_TEST_ENV}")
  endforeach()
endforeach()

# A private Slurm and shaped links on this machine (tools/rondo_tools/virtual_cluster.py says what
# it needs). The tests mostly wait, so that two share the cores.
file(GLOB scripts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/cluster/*_test.py)
set(missing "no .venv (run launch/setup)")
if(python)
  execute_process(
    COMMAND ${python} -c "from rondo_tools import virtual_cluster as it; print(it.missing_for_virtual_cluster())"
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}/tools
    OUTPUT_VARIABLE missing OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
if(missing)
  message(STATUS "left out cluster tests: ${missing}")
else()
  foreach(script ${scripts})
    get_filename_component(name ${script} NAME_WE)
    add_test(NAME cluster.${name} COMMAND ${python} -m unittest -v ${script}
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(cluster.${name} PROPERTIES LABELS cluster TIMEOUT 600
      ENVIRONMENT "${RONDO_TEST_ENV}")
  endforeach()
endif()
include(benchmarks)
