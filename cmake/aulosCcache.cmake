# ccache for this repository's own programs, if it is installed and nobody chose a launcher. Paths are hashed relative to
# the source folder, so that another clone hits the same entries. Entries depend on the contents of all files (DEPEND),
# not on the preprocessed text: g++ knows the files of a precompiled header by their contents (#pragma once), and would
# include one again of which only a comment changed. The namespace leaves entries of before behind.
set(aulos_ccache_launcher "")
set(aulos_ccache_flags "")
find_program(AULOS_CCACHE ccache)
mark_as_advanced(AULOS_CCACHE)
if(AULOS_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(aulos_ccache_launcher "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}" CCACHE_NOHASHDIR=1
                            CCACHE_DEPEND=1 CCACHE_NAMESPACE=aulos
                            "CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime"
                            "${AULOS_CCACHE}")
  # What ccache's manual asks for with precompiled headers.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(aulos_ccache_flags -fpch-preprocess)
  elseif(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    set(aulos_ccache_flags "SHELL:-Xclang -fno-pch-timestamp")
  endif()
endif()
