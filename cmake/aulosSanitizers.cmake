# AULOS_SANITIZE=address,undefined or AULOS_SANITIZE=thread instruments this repository's own programs.
set(AULOS_SANITIZE "" CACHE STRING "Sanitizers of the tests: address,undefined or thread")

set(aulos_sanitizer_flags "")
if(AULOS_SANITIZE)
  # The link line gets these as well. Recovery is off, so that a finding fails the test.
  set(aulos_sanitizer_flags -fsanitize=${AULOS_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND aulos_sanitizer_flags -Wno-maybe-uninitialized)  # of its own std::function, once that is instrumented
    if(AULOS_SANITIZE MATCHES "thread")
      list(APPEND aulos_sanitizer_flags -Wno-tsan)  # g++ warns of every fence, which its runtime does not model
    endif()
  endif()
endif()
