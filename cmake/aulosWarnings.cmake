# The warnings that every program and header of the repository is clean of.
set(aulos_warning_flags -Wall -Wextra -Wconversion -Wshadow -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  list(APPEND aulos_warning_flags -Wno-restrict)  # g++ 12 sees overlaps in its own std::string (GCC bug 105651)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  list(APPEND aulos_warning_flags -Wno-unknown-warning-option)  # files name a few of g++'s
endif()
