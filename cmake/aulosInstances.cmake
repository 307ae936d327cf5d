# The heavy functions that many source files of a program need, instantiated once (cmake/instances) and declared in a
# precompiled header.
include_guard(GLOBAL)
set(aulos_instances_folder "${CMAKE_CURRENT_LIST_DIR}/instances")

# An object library of the instances; the caller gives it the flags of the programs that are to use it.
function(aulos_add_instances name)
  add_library(${name} OBJECT "${aulos_instances_folder}/float.cpp" "${aulos_instances_folder}/double.cpp")
endfunction()

# Makes a target use them, and further precompiled headers (<...>) beside them. Optimisation may differ between the two.
function(aulos_use_instances target instances)
  target_link_libraries(${target} PRIVATE ${instances})
  # By a path without the source folder's, which the compiler's cache would keep.
  target_include_directories(${target} PRIVATE "${aulos_instances_folder}/..")
  target_precompile_headers(${target} PRIVATE ${ARGN} <instances/instances.hpp>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # From a precompiled header g++ 12 warns of its own intrinsics ("__Y = __Y") and strings.
    target_compile_options(${target} PRIVATE -Wno-uninitialized -Wno-maybe-uninitialized -Wno-stringop-overflow
                                             -Wno-array-bounds)
  endif()
endfunction()
