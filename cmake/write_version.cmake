execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
  set(commit "unknown")
endif()
set(text "#pragma once
#define RONDO_VERSION \"${VERSION}\"
#define RONDO_COMMIT \"${commit}\"
#define RONDO_COMPILER \"${COMPILER}\"
#define RONDO_TORCH_VERSION \"${TORCH}\"
#define RONDO_BUILD \"${BUILD}\"
")
set(old "")
if(EXISTS ${OUT})
  file(READ ${OUT} old)
endif()
if(NOT old STREQUAL text)
  file(WRITE ${OUT} "${text}")
endif()
